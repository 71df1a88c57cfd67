"""Bundles: all that is needed to predict, in one file, a zip of JSON and raw numbers that is safe to open."""
