"""The challenge's file of 2018: how it is written, read back, and what can be wrong with it."""

import codecs
import contextlib
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.artifacts import atomic_file
from pipeline.metrics import label_dtype

HEADER = "VideoId,LabelConfidencePairs"
FAULT_LIMIT = 100
"""Faults that `check` lists before it only counts them."""
_ROUNDING = 1e-6  # confidences this far outside [0, 1] are rounding, further out they are wrong
_BLOCK = 1 << 19  # bytes of lines parsed at once
_SUBMIT = "write the file again with `python -m pipeline.submit`"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_DATE = re.compile(r"\d{1,4}[-/]\d{1,2}[-/]\d{1,4}|\d{1,4}-[A-Z][a-z]{2}|[A-Z][a-z]{2}-\d{1,4}", re.ASCII)


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


# -------------------------------------------------------------------------------------------------------------- writing


def write(path: Path, batches: Iterable[tuple[list[str], ArrayLike, ArrayLike]], top_k: int = 20) -> int:
    """Write batches of (N ids, labels int [N,K], scores float [N,K]), gzipped where the path ends in `.gz`.

    The first `top_k` pairs of each row are written as `%i %g`. A gzipped file holds neither time nor name, so the same
    predictions give the same bytes. Returns the number of rows.

    Raises:
        ValueError: an id that a CSV cannot hold as it is; pairs whose labels are negative or repeated, or whose scores
            are not finite, ascend, or lie outside [0, 1] by more than rounding.
    """
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, not {top_k}")
    count = 0
    with atomic_file(path) as temporary, contextlib.ExitStack() as stack:
        file: BinaryIO = stack.enter_context(temporary.open("wb"))
        if path.suffix == ".gz":
            file = stack.enter_context(gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0))
        file.write(f"{HEADER}\n".encode())
        for ids, labels, scores in batches:
            file.write(_format(ids, np.asarray(labels), np.asarray(scores), top_k).encode())
            count += len(ids)
    return count


def _format(ids: list[str], labels: NDArray, scores: NDArray, top_k: int) -> str:
    if labels.ndim != 2 or not labels.shape[1] or not (len(ids), labels.shape[1]) == labels.shape == scores.shape:
        shapes = f"{list(labels.shape)} and {list(scores.shape)}"
        raise ValueError(f"{len(ids)} ids need labels and scores [{len(ids)},k], not {shapes}")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers, not {labels.dtype}")
    labels, scores = labels[:, :top_k], scores[:, :top_k]
    for video in filter(_id_fault, ids):
        raise ValueError(
            f"id {video!r} cannot be written: {_id_fault(video)}; ids are printable text without , or quotes"
        )
    ordered = np.sort(labels, axis=1)
    tests = {
        "a negative label": labels < 0,
        "a label twice": ordered[:, 1:] == ordered[:, :-1],
        "a confidence that is not finite": ~np.isfinite(scores),
        "a confidence outside [0, 1]": (scores < -_ROUNDING) | (scores > 1 + _ROUNDING),
        "ascending confidences": scores[:, 1:] > scores[:, :-1],
    }
    for what, wrong in tests.items():
        if wrong.any():
            raise ValueError(f"video {ids[np.argwhere(wrong)[0][0]]!r} has {what}; predict it again")
    cells = np.empty((len(ids), 1 + 2 * labels.shape[1]), object)
    cells[:, 0], cells[:, 1::2], cells[:, 2::2] = ids, labels, np.clip(scores.astype(np.float64), 0, 1)
    row = "%s," + " ".join(["%i %g"] * labels.shape[1]) + "\n"
    return row * len(ids) % tuple(cells.ravel().tolist())


def _id_fault(video: str) -> str | None:
    if video.isprintable() and video and not any(character in video for character in ' ,"'):
        return None
    return "it is empty" if not video else "it holds a space, a comma, a quote or an unprintable character"


# -------------------------------------------------------------------------------------------------------------- reading


class _Rows(NamedTuple):
    """Lines taken apart; pairs of all lines one after the other."""

    ids: list[str]  # N
    sizes: NDArray[np.int64]  # N, pairs a line
    labels: NDArray[np.int32]  # M
    scores: NDArray[np.float64]  # M


class _Block(NamedTuple):
    """Some lines of a file, what they say, and what is wrong with them."""

    first: int
    ids: list[str]
    """One a line, empty where the line has none."""
    rows: _Rows | None
    """None where some line could not be taken apart."""
    faults: list[Fault]


def read(path: Path, num_classes: int) -> Iterator[tuple[list[str], NDArray[np.signedinteger], NDArray[np.float32]]]:
    """Chunks of (N ids, labels [N,K], scores float32 [N,K]); rows with fewer than K pairs end in label -1, score 0.

    Raises ValueError at the first fault that `check` would name, but takes any number of pairs and any ids.
    """
    for block in _scan(path, num_classes, top_k=num_classes):
        if block.faults:
            raise ValueError(f"{path}: {block.faults[0]}")
        if block.rows is None:
            continue
        ids, sizes, labels, scores = block.rows
        listed = np.arange(sizes.max()) < sizes[:, None]  # N,K
        best, confidences = np.full(listed.shape, -1, label_dtype(num_classes)), np.zeros(listed.shape, np.float32)
        best[listed], confidences[listed] = labels, scores
        yield ids, best, confidences


def _scan(path: Path, num_classes: int, top_k: int) -> Iterator[_Block]:
    """The file in blocks of lines. Ids are compared with nothing here; everything else is checked."""
    table = {str(label): label for label in range(num_classes)}
    first, carriage_returns = 1, False
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        while True:
            try:
                lines = file.readlines(_BLOCK)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                yield _Block(first, [], None, [Fault(first, "file", f"cannot be unzipped ({error})", "copy it again")])
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
                faults.append(Fault(*at, "the last line has no newline: the file may have been cut off", _SUBMIT))
            text, undecodable = _decode(lines, first)
            texts = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
            if first == 1 and texts[0].partition(",")[2].partition(" ")[0] in table:  # a row already
                faults.append(Fault(1, "header", "the header is missing", f"add the line {HEADER}"))
            elif first == 1:
                if texts[0] != HEADER:
                    faults.append(Fault(1, "header", f"the header reads {_short(texts[0])}", f"write {HEADER}"))
                texts, first = texts[1:], 2
            block = _examine(first, texts, table, top_k)
            yield block._replace(faults=sorted(faults + undecodable + block.faults, key=lambda fault: fault.line))
            first += len(texts)
    if first == 1:
        yield _Block(1, [], None, [Fault(1, "header", "the file is empty", _SUBMIT)])


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


def _examine(first: int, lines: list[str], table: dict[str, int], top_k: int) -> _Block:
    """All lines at once; only those that look wrong one by one, which is slow and says why."""
    if not lines:
        return _Block(first, [], None, [])
    try:
        rows = _parse(lines, table)
        ids, suspects = rows.ids, _suspects(rows, len(table), top_k)
    except (ValueError, KeyError):
        rows, ids, suspects = None, [line.partition(",")[0] if "," in line else "" for line in lines], range(len(lines))
    faults = [fault for i in suspects for fault in _line_faults(first + int(i), lines[i], table, top_k)]
    return _Block(first, ids, rows, faults)


def _parse(lines: list[str], table: dict[str, int]) -> _Rows:
    """Raises ValueError or KeyError unless each line is an id, a comma, and pairs of a known label and a number."""
    parts = [line.partition(",") for line in lines]
    ids, pairs = [part[0] for part in parts], [part[2] for part in parts]
    joined = " ".join(pairs)
    # float() takes more than numbers are written with: underscores, other scripts' digits, blanks around.
    if "" in ids or _id_fault("".join(ids)) or joined.encode().translate(None, b"0123456789.eE+- "):
        raise ValueError("an id or a character that does not belong")
    tokens = joined.split(" ")
    sizes = np.fromiter((pair.count(" ") for pair in pairs), np.int64, len(pairs)) + 1
    if (sizes % 2).any():
        raise ValueError("an odd number of fields")
    labels = np.fromiter(map(table.__getitem__, tokens[::2]), np.int32, len(tokens) // 2)
    scores = np.fromiter(map(float, tokens[1::2]), np.float64, len(tokens) // 2)
    return _Rows(ids, sizes // 2, labels, scores)


def _suspects(rows: _Rows, num_classes: int, top_k: int) -> NDArray[np.int64]:
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
    if reason := _id_fault(name):
        yield Fault(number, "VideoId", f"id {_short(name)}: {reason}", _SUBMIT)
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
        yield Fault(number, f"pair {len(tokens) // 2 + 1}", reason, _SUBMIT)
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
        return f"label {_short(label)} is not an integer"
    digits = label.lstrip("+-").lstrip("0") or "0"
    if (label.startswith("-") and digits != "0") or len(digits) > 9 or int(digits) >= num_classes:
        return f"label {_short(label)} is out of range"
    return f"label {_short(label)} is not written plainly, as {digits}"


def _confidence_fault(confidence: str) -> str | None:
    if not _NUMBER.fullmatch(confidence):
        finite = confidence.lower().lstrip("+-") not in ("nan", "inf", "infinity")
        return f"confidence {_short(confidence)} is not {'a number' if finite else 'finite'}"
    value = float(confidence)
    if 0 <= value <= 1:
        return None
    return f"confidence {_short(confidence)} is {'negative' if value < 0 else 'above 1'}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


# ------------------------------------------------------------------------------------------------------------- checking


def check(path: Path, ids: Iterable[str] | None = None, num_classes: int = 3862, top_k: int = 20) -> list[Fault]:
    """Everything wrong with a file, by line; empty if it is valid.

    Args:
        path: the file, gzipped where it ends in `.gz`.
        ids: the ids that it must hold, each once, compared byte for byte; None compares them with nothing.
        num_classes: labels are below it.
        top_k: pairs that a line may hold.
    Returns:
        The first `FAULT_LIMIT` faults, one for all missing ids, and one that says how many more there are.
    """
    expected = None if ids is None else dict.fromkeys(ids)
    seen: dict[str, int] = {}  # id -> line
    unknown: dict[Fault, str] = {}
    kept: list[Fault] = []
    count, last_line = 0, 1
    for block in _scan(path, num_classes, top_k):
        faults, names = block.faults, set(block.ids)
        fresh = len(names) == len(block.ids) and "" not in names and seen.keys().isdisjoint(names)
        if fresh and (expected is None or expected.keys() >= names):
            seen.update(zip(block.ids, range(block.first, block.first + len(block.ids))))
        else:
            found = dict(_id_faults(block, seen, expected))
            unknown |= {fault: name for fault, name in found.items() if name and len(unknown) < FAULT_LIMIT}
            faults = sorted(faults + list(found), key=lambda fault: fault.line)
        kept += faults[: FAULT_LIMIT - len(kept)]
        count += len(faults)
        last_line = max(last_line, block.first + len(block.ids) - 1)
    missing = [] if expected is None else [name for name in expected if name not in seen]
    forms = {_spreadsheet_form(name): name for name in missing} if unknown else {}
    kept = [_explain(fault, unknown[fault], forms) if fault in unknown else fault for fault in kept]
    more = count - len(kept)
    if missing:
        some = ", ".join(map(repr, missing[:5])) + (", ..." if len(missing) > 5 else "")
        kept.append(Fault(last_line, "VideoId", f"ids missing from the file: {len(missing)}: {some}", _SUBMIT))
    if not seen and not kept:
        kept.append(Fault(1, "file", "no videos follow the header", _SUBMIT))
    if more:
        kept.append(
            Fault(kept[-1].line, "file", f"{more} more faults after the first {FAULT_LIMIT}", "correct those first")
        )
    return kept


def _id_faults(block: _Block, seen: dict[str, int], expected: dict[str, None] | None) -> Iterator[tuple[Fault, str]]:
    """Ids that occur twice, with "", and unknown ones, with the id; adds all of them to those seen."""
    for line, name in enumerate(block.ids, block.first):
        if not name:
            continue
        if name in seen:
            reason = f"id {_short(name)} is on line {seen[name]} already"
            yield Fault(line, "VideoId", reason, "keep one line for each video"), ""
            continue
        seen[name] = line
        if expected is not None and name not in expected:
            yield Fault(line, "VideoId", f"unknown id {_short(name)}", "predict the split that is asked for"), name


def _spreadsheet_form(name: str) -> str:
    """What a spreadsheet makes of an id, near enough to find the id again."""
    if _NUMBER.fullmatch(name):
        return f"{float(name):.5e}"
    if name.lower() in ("true", "false"):
        return name.upper()
    return "#NAME?" if name.startswith(("-", "+", "=", "@")) else name


def _explain(fault: Fault, name: str, missing: dict[str, str]) -> Fault:
    """Say so where an unknown id is what a spreadsheet made of a missing one, given by `_spreadsheet_form`."""
    remedy = f"{_SUBMIT} and do not open it in a spreadsheet"
    if (original := missing.get(_spreadsheet_form(name))) is not None:
        reason = f"{fault.reason}, while {original!r} is missing: a spreadsheet rewrote it"
        return replace(fault, reason=reason, remedy=remedy)
    if _DATE.fullmatch(name):
        return replace(fault, reason=f"{fault.reason}, which looks like a date that a spreadsheet made", remedy=remedy)
    return fault
