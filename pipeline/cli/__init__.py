"""The command line of a stage: its settings come from a preset, and flags override them."""
