"""What the pooling families are made of."""
