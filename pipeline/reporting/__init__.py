"""From numbers to pages and figures that need no other file."""

FORMAT = 3
"""Of the page. Raise it when you change what the page shows, so that pages are made again."""
