"""What lies on disk between the stages: where, written whole or not at all, and whether it is up to date."""
