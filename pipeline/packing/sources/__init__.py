"""Files of features, one form a file: which videos they hold, where each lies, and how it is read."""
