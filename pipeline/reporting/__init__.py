"""Numbers -> pages: figures that need no other file."""

FORMAT = 2
"""Of the page: raised by whoever changes what it shows or how, so that pages are made again."""
