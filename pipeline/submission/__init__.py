"""The challenge's file of 2018: written, read back, and checked."""

from pipeline.submission.lines import Fault
from pipeline.submission.named import write_named
from pipeline.submission.rows import Written, write
from pipeline.submission.scanning import read
from pipeline.submission.validation import CHALLENGE_CLASSES, check

__all__ = ["CHALLENGE_CLASSES", "Fault", "Written", "check", "read", "write", "write_named"]
