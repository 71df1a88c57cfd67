"""Predict with trained models, and score the predictions."""
