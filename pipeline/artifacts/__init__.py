"""Files between the stages: where they lie, how they are written whole or not at all, and if they are up to date."""
