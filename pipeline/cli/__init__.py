"""From a command line to a stage's settings: the preset, then what the flags override."""
