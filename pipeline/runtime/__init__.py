"""What the machine gives: a backend, its arithmetic, its processors, compiled loops."""
