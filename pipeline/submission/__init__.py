"""Submission files of the 2018 challenge, and those like a host's sample: write, read and check them."""

from pipeline.submission.lines import SubmissionFault
from pipeline.submission.named import write_named
from pipeline.submission.rows import WrittenSubmission, write_submission
from pipeline.submission.scanning import read_submission
from pipeline.submission.validation import CHALLENGE_CLASSES, check_submission

__all__ = [
    "CHALLENGE_CLASSES",
    "SubmissionFault",
    "WrittenSubmission",
    "check_submission",
    "read_submission",
    "write_named",
    "write_submission",
]
