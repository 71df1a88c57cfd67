"""Everything that predicts in one file, which is safe to open whoever made it: a zip of JSON and raw numbers."""
