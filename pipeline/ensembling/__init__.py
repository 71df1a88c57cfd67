"""Blend the predictions of several runs into one: choose the runs and their weights, and combine their scores."""
