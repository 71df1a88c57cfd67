"""Train a model with Keras: optimizer, schedule, checkpoints, moving average and hold-out evaluation."""
