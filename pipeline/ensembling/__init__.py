"""Several runs' predictions to one: how they are combined, and with which weights."""
