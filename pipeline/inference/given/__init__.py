"""What predict is given: features, records and video files; each video where it lies, read as a model wants it."""
