"""The layers that the pooling families are made of."""
