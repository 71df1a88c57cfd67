"""Read a submission file in blocks of lines, with their faults."""

import codecs
import contextlib
import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.inputs.index.ids import id_fault
from pipeline.inputs.records.file_kinds import kind_of_file
from pipeline.metrics import label_dtype
from pipeline.submission.lines import HEADER, SUBMIT, SubmissionFault, line_faults, short

_BLOCK = 1 << 20  # bytes of lines taken apart at once
_LONGEST = 4 << 20  # bytes of a line: a pair for each of 100,000 classes takes half of it
_PLAIN = re.compile(r"[^,]+,[-+.0-9eE ]+")  # of these characters `float` reads what a confidence may be, and no more


class Rows(NamedTuple):
    """Parsed lines; the pairs of all lines follow each other. A line that cannot be parsed has none."""

    sizes: NDArray[np.int64]  # N, pairs a line
    labels: NDArray[np.int32]  # M
    scores: NDArray[np.float64]  # M


class SubmissionBlock(NamedTuple):
    """Some lines of a file, parsed, and their faults."""

    first: int
    ids: list[str]
    """The id of each line; empty if the line has none."""
    rows: Rows | None
    """None if there are no lines."""
    faults: list[SubmissionFault]


def read_submission(
    path: Path, num_classes: int
) -> Iterator[tuple[list[str], NDArray[np.signedinteger], NDArray[np.float32]]]:
    """Yield (N ids, labels [N,K], scores float32 [N,K]); rows with fewer than K pairs end in label -1, score 0.

    Raises ValueError at the first fault that `check_submission` would name, but takes any number of pairs and any ids.
    """
    for block in scan_submission(path, num_classes, top_k=num_classes):
        if block.faults:
            raise ValueError(f"{path}: {block.faults[0]}")
        if block.rows is None:
            continue
        sizes, labels, scores = block.rows
        listed = np.arange(sizes.max()) < sizes[:, None]  # N,K
        best, confidences = np.full(listed.shape, -1, label_dtype(num_classes)), np.zeros(listed.shape, np.float32)
        best[listed], confidences[listed] = labels, scores
        yield block.ids, best, confidences


def scan_submission(path: Path, num_classes: int, top_k: int) -> Iterator[SubmissionBlock]:
    """Yield the file in blocks of lines. Everything is checked, except which ids there must be."""
    table = {str(label): label for label in range(num_classes)}
    first, carriage_returns = 1, False
    if fault := _kind_fault(path):
        yield SubmissionBlock(1, [], None, [fault])
        return
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        while True:
            try:
                text = file.read(_BLOCK) + (rest := file.readline(_LONGEST))
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                yield SubmissionBlock(
                    first, [], None, [SubmissionFault(first, "file", f"cannot be unzipped ({error})", "copy it again")]
                )
                return
            if not text:
                break
            if len(rest) == _LONGEST and not rest.endswith(b"\n"):
                number = first + text.count(b"\n")
                fault = SubmissionFault(number, "file", f"the line has more than {_LONGEST >> 20} MiB", SUBMIT)
                yield SubmissionBlock(first, [], None, [fault])
                return
            faults = []
            if first == 1 and text.startswith(codecs.BOM_UTF8):
                faults.append(
                    SubmissionFault(1, "character 1", "the file begins with a byte order mark", "save it without")
                )
                text = text.removeprefix(codecs.BOM_UTF8)
            if not carriage_returns and b"\r\n" in text:
                carriage_returns = True  # named once, for all lines
                place = _place(text, text.index(b"\r\n"), first)
                faults.append(SubmissionFault(*place, "the line ends in CR LF", "end lines with LF alone"))
            if not text.endswith(b"\n"):
                reason = "the last line has no newline: the file may have been cut off"
                faults.append(SubmissionFault(*_place(text, len(text), first), reason, SUBMIT))
                text += b"\n"
            text, undecodable = _decodable(text.replace(b"\r\n", b"\n"), first)
            header = text.partition(b"\n")[0].decode()
            if first == 1 and header.partition(",")[2].partition(" ")[0] in table:  # a row already
                faults.append(SubmissionFault(1, "header", "the header is missing", f"add the line {HEADER}"))
            elif first == 1:
                if header != HEADER:
                    faults.append(SubmissionFault(1, "header", f"the header reads {short(header)}", f"write {HEADER}"))
                text, first = text.partition(b"\n")[2], 2
            block = _examine(first, text, table, top_k)
            yield block._replace(faults=sorted(faults + undecodable + block.faults, key=lambda fault: fault.line))
            first += len(block.ids)
    if first == 1:
        yield SubmissionBlock(1, [], None, [SubmissionFault(1, "header", "the file is empty", SUBMIT)])


def _kind_fault(path: Path) -> SubmissionFault | None:
    """What is wrong where a file is no text at all, or is not gzipped as its name says."""
    kind, gzipped = kind_of_file(path), path.suffix == ".gz"
    if kind is None or kind.format in ("empty", "text", "csv"):
        if gzipped and kind and kind.format != "empty":
            return SubmissionFault(1, "file", f"it is {kind.name} and not gzipped", "give it a name without .gz")
        return None
    if kind.format == "gzip":
        return None if gzipped else SubmissionFault(1, "file", "it is gzipped", "give it a name that ends in .gz")
    return SubmissionFault(1, "file", f"it is {kind.name}, not the challenge's CSV", SUBMIT)


def _place(text: bytes, at: int, first: int) -> tuple[int, str]:
    """Return the line and the column of a byte in some lines."""
    start = text.rfind(b"\n", 0, at) + 1
    return first + text.count(b"\n", 0, at), f"character {at - start + 1}"


def _decodable(text: bytes, first: int) -> tuple[bytes, list[SubmissionFault]]:
    """Return the lines with replacement characters for bytes that are not UTF-8, and a fault for each such line."""
    with contextlib.suppress(UnicodeDecodeError):
        text.decode()
        return text, []
    faults = []
    for number, line in enumerate(text.split(b"\n"), first):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            reason = f"byte 0x{line[error.start]:02x} is not UTF-8"
            faults.append(SubmissionFault(number, f"character {error.start + 1}", reason, "write the file as UTF-8"))
    return text.decode(errors="replace").encode(), faults


def _examine(first: int, text: bytes, table: dict[str, int], top_k: int) -> SubmissionBlock:
    """Parse all lines; the slow search for faults is made only in lines that are not plainly correct."""
    ids: list[str] = []
    sizes: list[int] = []
    labels: list[int] = []
    scores: list[float] = []
    faults: list[SubmissionFault] = []
    for number, line in enumerate(text.decode().split("\n")[:-1], first):
        name, comma, pairs = line.partition(",")
        ids.append(name if comma else "")
        best, confidences = _take_apart(pairs, table)
        if not (
            0 < len(best) <= top_k
            and len(set(best)) == len(best)
            and confidences[0] <= 1
            and confidences[-1] >= 0
            and confidences == sorted(confidences, reverse=True)
            and _PLAIN.fullmatch(line)
            and not id_fault(name)
        ):
            faults += line_faults(number, line, table, top_k)
        sizes.append(len(best))
        labels += best
        scores += confidences
    if not ids:
        return SubmissionBlock(first, ids, None, faults)
    return SubmissionBlock(first, ids, Rows(np.array(sizes), np.array(labels, np.int32), np.array(scores)), faults)


def _take_apart(pairs: str, table: dict[str, int]) -> tuple[list[int], list[float]]:
    """Return a line's labels and confidences; none if a label is not in the table or a number cannot be parsed."""
    fields = pairs.split(" ")
    if len(fields) % 2:
        return [], []
    try:
        return list(map(table.__getitem__, fields[::2])), list(map(float, fields[1::2]))
    except (KeyError, ValueError):
        return [], []
