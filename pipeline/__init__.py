"""Learnable pooling for video classification, from frame features to a scored, validated submission."""

import sys

if sys.argv[:1] == ["-m"]:  # of `python -m pipeline.<stage>` this is the beginning, before the stage and its imports
    from pipeline.runtime import signals

    signals.watch()
