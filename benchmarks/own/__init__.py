"""Learnable poolings on features of one's own."""
