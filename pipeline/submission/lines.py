"""Check one line of a submission file."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config.wording import counted
from pipeline.inputs.index.ids import id_fault

HEADER = "VideoId,LabelConfidencePairs"
SUBMIT = "write the file again with `python -m pipeline.submit`"
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class SubmissionFault:
    """A fault of a file."""

    line: int
    """The line's number; the header is line 1."""
    column: str
    """The field, the number of the pair, or the position of the character."""
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.column}: {self.reason}; {self.remedy}"


def line_faults(number: int, line: str, table: dict[str, int], top_k: int) -> Iterator[SubmissionFault]:
    """Yield the faults of a line that can be found without the other lines."""
    if not line.strip():
        yield SubmissionFault(number, "character 1", "the line is blank", "remove it")
        return
    if line.count(",") != 1:
        at = len(line) if "," not in line else line.index(",", line.index(",") + 1)
        reason = f"{counted(line.count(','), 'comma')}, where one parts the id from the pairs"
        yield SubmissionFault(
            number, f"character {at + 1}", reason, "write one line as id,label confidence label confidence ..."
        )
        return
    name, _, pairs = line.partition(",")
    if reason := id_fault(name):
        yield SubmissionFault(number, "VideoId", f"id {short(name)}: {reason}", SUBMIT)
    if not pairs.strip():
        yield SubmissionFault(number, "pair 1", "no pairs", "each video needs a label and its confidence")
        return
    tokens = pairs.split(" ")
    if "" in tokens:
        at = min(len(name) + 2 + sum(len(token) + 1 for token in tokens[: tokens.index("")]), len(line))
        yield SubmissionFault(
            number, f"character {at}", "a space too many", "part fields by one space, with none at the ends"
        )
        tokens = [token for token in tokens if token]
    if len(tokens) % 2:
        reason = f"an odd number of fields, {len(tokens)}: some label or confidence is missing"
        yield SubmissionFault(number, f"pair {len(tokens) // 2 + 1}", reason, SUBMIT)
        return
    if len(tokens) > 2 * top_k:
        yield SubmissionFault(number, f"pair {top_k + 1}", f"{len(tokens) // 2} pairs", f"keep the best {top_k}")
    used: set[str] = set()
    last = "1"
    for place, (label, confidence) in enumerate(zip(tokens[::2], tokens[1::2]), start=1):
        column = f"pair {place}"
        if label not in table:
            yield SubmissionFault(number, column, _label_fault(label, len(table)), f"labels are 0 to {len(table) - 1}")
        elif label in used:
            yield SubmissionFault(number, column, f"label {label} occurs twice", "keep its best confidence")
        used.add(label)
        if reason := confidence_fault(confidence):
            yield SubmissionFault(number, column, reason, "confidences are numbers from 0 to 1")
        elif float(confidence) > float(last):
            reason = f"confidence {confidence} ascends, after {last}"
            yield SubmissionFault(number, column, reason, "write the most confident label first")
            last = confidence
        else:
            last = confidence


def _label_fault(label: str, num_classes: int) -> str:
    if not re.fullmatch(r"[+-]?\d+", label, re.ASCII):
        return f"label {short(label)} is not an integer"
    digits = label.lstrip("+-").lstrip("0") or "0"
    if (label.startswith("-") and digits != "0") or len(digits) > 9 or int(digits) >= num_classes:
        return f"label {short(label)} is out of range"
    return f"label {short(label)} is not written plainly, as {digits}"


def confidence_fault(confidence: str) -> str | None:
    if not NUMBER.fullmatch(confidence):
        finite = confidence.lower().lstrip("+-") not in ("nan", "inf", "infinity")
        return f"confidence {short(confidence)} is not {'a number' if finite else 'finite'}"
    value = float(confidence)
    if 0 <= value <= 1:
        return None
    return f"confidence {short(confidence)} is {'negative' if value < 0 else 'above 1'}"


def short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
