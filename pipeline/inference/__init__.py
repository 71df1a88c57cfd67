"""Trained models to predictions and scores."""
