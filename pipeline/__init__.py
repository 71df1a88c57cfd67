"""Learnable pooling for video classification, from frame features to a scored, validated submission."""
