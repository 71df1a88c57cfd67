"""What is said of the videos that predict is given, and the files that it is written to."""
