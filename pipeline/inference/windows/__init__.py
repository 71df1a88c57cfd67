"""A video in windows: which there are, their scores by models that see each frame once, and the intervals of labels."""
