"""Lines of the challenge's file taken apart, and what can be wrong with each of them."""

import codecs
import contextlib
import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HEADER = "VideoId,LabelConfidencePairs"
SUBMIT = "write the file again with `python -m pipeline.submit`"
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_BLOCK = 1 << 19  # bytes of lines parsed at once


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a file."""

    line: int
    """From 1, the header's."""
    column: str
    """The field, the number of the pair, or the position of the character."""
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.column}: {self.reason}; {self.remedy}"


class Rows(NamedTuple):
    """Lines taken apart; pairs of all lines one after the other."""

    ids: list[str]  # N
    sizes: NDArray[np.int64]  # N, pairs a line
    labels: NDArray[np.int32]  # M
    scores: NDArray[np.float64]  # M


class Block(NamedTuple):
    """Some lines of a file, what they say, and what is wrong with them."""

    first: int
    ids: list[str]
    """One a line, empty where the line has none."""
    rows: Rows | None
    """None where some line could not be taken apart."""
    faults: list[Fault]


def scan(path: Path, num_classes: int, top_k: int) -> Iterator[Block]:
    """The file in blocks of lines. Ids are compared with nothing here; everything else is checked."""
    table = {str(label): label for label in range(num_classes)}
    first, carriage_returns = 1, False
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        while True:
            try:
                lines = file.readlines(_BLOCK)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                yield Block(first, [], None, [Fault(first, "file", f"cannot be unzipped ({error})", "copy it again")])
                return
            if not lines:
                break
            faults = []
            if first == 1 and lines[0].startswith(codecs.BOM_UTF8):
                faults.append(Fault(1, "character 1", "the file begins with a byte order mark", "save it without"))
                lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
            if not carriage_returns and (ends := [i for i, line in enumerate(lines) if line.endswith(b"\r\n")]):
                carriage_returns = True  # named once, for all lines
                at = f"character {len(lines[ends[0]]) - 1}"
                faults.append(Fault(first + ends[0], at, "the line ends in CR LF", "end lines with LF alone"))
            if not lines[-1].endswith(b"\n"):
                at = first + len(lines) - 1, f"character {len(lines[-1]) + 1}"
                faults.append(Fault(*at, "the last line has no newline: the file may have been cut off", SUBMIT))
            text, undecodable = _decode(lines, first)
            texts = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
            if first == 1 and texts[0].partition(",")[2].partition(" ")[0] in table:  # a row already
                faults.append(Fault(1, "header", "the header is missing", f"add the line {HEADER}"))
            elif first == 1:
                if texts[0] != HEADER:
                    faults.append(Fault(1, "header", f"the header reads {short(texts[0])}", f"write {HEADER}"))
                texts, first = texts[1:], 2
            block = _examine(first, texts, table, top_k)
            yield block._replace(faults=sorted(faults + undecodable + block.faults, key=lambda fault: fault.line))
            first += len(texts)
    if first == 1:
        yield Block(1, [], None, [Fault(1, "header", "the file is empty", SUBMIT)])


def _decode(lines: list[bytes], first: int) -> tuple[str, list[Fault]]:
    with contextlib.suppress(UnicodeDecodeError):
        return b"".join(lines).decode(), []
    faults = []
    for number, line in enumerate(lines, first):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            reason = f"byte 0x{line[error.start]:02x} is not UTF-8"
            faults.append(Fault(number, f"character {error.start + 1}", reason, "write the file as UTF-8"))
    return b"".join(lines).decode(errors="replace"), faults


def _examine(first: int, lines: list[str], table: dict[str, int], top_k: int) -> Block:
    """All lines at once; only those that look wrong one by one, which is slow and says why."""
    if not lines:
        return Block(first, [], None, [])
    try:
        rows = _parse(lines, table)
        ids, suspects = rows.ids, _suspects(rows, len(table), top_k)
    except (ValueError, KeyError):
        rows, ids, suspects = None, [line.partition(",")[0] if "," in line else "" for line in lines], range(len(lines))
    faults = [fault for i in suspects for fault in _line_faults(first + int(i), lines[i], table, top_k)]
    return Block(first, ids, rows, faults)


def _parse(lines: list[str], table: dict[str, int]) -> Rows:
    """Raises ValueError or KeyError unless each line is an id, a comma, and pairs of a known label and a number."""
    parts = [line.partition(",") for line in lines]
    ids, pairs = [part[0] for part in parts], [part[2] for part in parts]
    joined = " ".join(pairs)
    # float() takes more than numbers are written with: underscores, other scripts' digits, blanks around.
    if "" in ids or id_fault("".join(ids)) or joined.encode().translate(None, b"0123456789.eE+- "):
        raise ValueError("an id or a character that does not belong")
    tokens = joined.split(" ")
    sizes = np.fromiter((pair.count(" ") for pair in pairs), np.int64, len(pairs)) + 1
    if (sizes % 2).any():
        raise ValueError("an odd number of fields")
    labels = np.fromiter(map(table.__getitem__, tokens[::2]), np.int32, len(tokens) // 2)
    scores = np.fromiter(map(float, tokens[1::2]), np.float64, len(tokens) // 2)
    return Rows(ids, sizes // 2, labels, scores)


def _suspects(rows: Rows, num_classes: int, top_k: int) -> NDArray[np.int64]:
    """Which rows have too many pairs, labels twice, or confidences outside [0, 1] or ascending."""
    row = np.repeat(np.arange(len(rows.ids)), rows.sizes)
    wrong = rows.sizes > top_k
    wrong[row[~((rows.scores >= 0) & (rows.scores <= 1))]] = True
    wrong[row[1:][(rows.scores[1:] > rows.scores[:-1]) & (row[1:] == row[:-1])]] = True
    cells = np.sort(row * num_classes + rows.labels)
    wrong[cells[1:][cells[1:] == cells[:-1]] // num_classes] = True
    return np.flatnonzero(wrong)


def _line_faults(number: int, line: str, table: dict[str, int], top_k: int) -> Iterator[Fault]:
    """Everything wrong with one line, taken alone."""
    if not line.strip():
        yield Fault(number, "character 1", "the line is blank", "remove it")
        return
    if line.count(",") != 1:
        at = len(line) if "," not in line else line.index(",", line.index(",") + 1)
        reason = f"{line.count(',')} commas, where one parts the id from the pairs"
        yield Fault(number, f"character {at + 1}", reason, "write one line as id,label confidence label confidence ...")
        return
    name, _, pairs = line.partition(",")
    if reason := id_fault(name):
        yield Fault(number, "VideoId", f"id {short(name)}: {reason}", SUBMIT)
    if not pairs.strip():
        yield Fault(number, "pair 1", "no pairs", "each video needs a label and its confidence")
        return
    tokens = pairs.split(" ")
    if "" in tokens:
        at = min(len(name) + 2 + sum(len(token) + 1 for token in tokens[: tokens.index("")]), len(line))
        yield Fault(number, f"character {at}", "a space too many", "part fields by one space, with none at the ends")
        tokens = [token for token in tokens if token]
    if len(tokens) % 2:
        reason = f"an odd number of fields, {len(tokens)}: some label or confidence is missing"
        yield Fault(number, f"pair {len(tokens) // 2 + 1}", reason, SUBMIT)
        return
    if len(tokens) > 2 * top_k:
        yield Fault(number, f"pair {top_k + 1}", f"{len(tokens) // 2} pairs", f"keep the best {top_k}")
    used: set[str] = set()
    last = "1"
    for place, (label, confidence) in enumerate(zip(tokens[::2], tokens[1::2]), start=1):
        column = f"pair {place}"
        if label not in table:
            yield Fault(number, column, _label_fault(label, len(table)), f"labels are 0 to {len(table) - 1}")
        elif label in used:
            yield Fault(number, column, f"label {label} occurs twice", "keep its best confidence")
        used.add(label)
        if reason := _confidence_fault(confidence):
            yield Fault(number, column, reason, "confidences are numbers from 0 to 1")
        elif float(confidence) > float(last):
            reason = f"confidence {confidence} ascends, after {last}"
            yield Fault(number, column, reason, "write the most confident label first")
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


def _confidence_fault(confidence: str) -> str | None:
    if not NUMBER.fullmatch(confidence):
        finite = confidence.lower().lstrip("+-") not in ("nan", "inf", "infinity")
        return f"confidence {short(confidence)} is not {'a number' if finite else 'finite'}"
    value = float(confidence)
    if 0 <= value <= 1:
        return None
    return f"confidence {short(confidence)} is {'negative' if value < 0 else 'above 1'}"


def short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def id_fault(video: str) -> str | None:
    """Why the challenge's file cannot hold an id, or None."""
    if not video:
        return "it is empty"
    if video.isprintable() and not {",", '"'} & set(video):
        return None
    return "it holds a comma, a quote or an unprintable character"
