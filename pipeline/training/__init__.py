"""The loop around Keras: optimizer, schedule, checkpoints, moving average, hold-out evaluation."""
