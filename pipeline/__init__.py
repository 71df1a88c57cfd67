"""Learnable pooling for video classification, from frame features to a scored, validated submission."""

import sys

# Of `python -m pipeline.<stage>` and of `learnable-pooling` this is the beginning, before the stage and its imports.
if sys.argv and (sys.argv[0] == "-m" or sys.argv[0].endswith("/learnable-pooling")):
    from pipeline.runtime import signals, surroundings

    surroundings.keep_out()
    signals.watch()
