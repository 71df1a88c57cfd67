"""The challenge's file of 2018: written, read back, and checked."""

import contextlib
import gzip
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.artifacts import atomic_file
from pipeline.metrics import label_dtype
from pipeline.submission_lines import HEADER, NUMBER, SUBMIT, Block, Fault, id_fault, scan, short

FAULT_LIMIT = 100
"""Faults that `check` lists before it only counts them."""
_ROUNDING = 1e-6  # confidences this far outside [0, 1] are rounding, further out they are wrong
_DATE = re.compile(r"\d{1,4}[-/]\d{1,2}[-/]\d{1,4}|\d{1,4}-[A-Z][a-z]{2}|[A-Z][a-z]{2}-\d{1,4}", re.ASCII)

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
    for video in filter(id_fault, ids):
        raise ValueError(
            f"id {video!r} cannot be written: {id_fault(video)}; ids are printable text without , or quotes"
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


# -------------------------------------------------------------------------------------------------------------- reading


def read(path: Path, num_classes: int) -> Iterator[tuple[list[str], NDArray[np.signedinteger], NDArray[np.float32]]]:
    """Chunks of (N ids, labels [N,K], scores float32 [N,K]); rows with fewer than K pairs end in label -1, score 0.

    Raises ValueError at the first fault that `check` would name, but takes any number of pairs and any ids.
    """
    for block in scan(path, num_classes, top_k=num_classes):
        if block.faults:
            raise ValueError(f"{path}: {block.faults[0]}")
        if block.rows is None:
            continue
        ids, sizes, labels, scores = block.rows
        listed = np.arange(sizes.max()) < sizes[:, None]  # N,K
        best, confidences = np.full(listed.shape, -1, label_dtype(num_classes)), np.zeros(listed.shape, np.float32)
        best[listed], confidences[listed] = labels, scores
        yield ids, best, confidences


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
    for block in scan(path, num_classes, top_k):
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
        kept.append(Fault(last_line, "VideoId", f"ids missing from the file: {len(missing)}: {some}", SUBMIT))
    if not seen and not kept:
        kept.append(Fault(1, "file", "no videos follow the header", SUBMIT))
    if more:
        kept.append(
            Fault(kept[-1].line, "file", f"{more} more faults after the first {FAULT_LIMIT}", "correct those first")
        )
    return kept


def _id_faults(block: Block, seen: dict[str, int], expected: dict[str, None] | None) -> Iterator[tuple[Fault, str]]:
    """Ids that occur twice, with "", and unknown ones, with the id; adds all of them to those seen."""
    for line, name in enumerate(block.ids, block.first):
        if not name:
            continue
        if name in seen:
            reason = f"id {short(name)} is on line {seen[name]} already"
            yield Fault(line, "VideoId", reason, "keep one line for each video"), ""
            continue
        seen[name] = line
        if expected is not None and name not in expected:
            yield Fault(line, "VideoId", f"unknown id {short(name)}", "predict the split that is asked for"), name


def _spreadsheet_form(name: str) -> str:
    """What a spreadsheet makes of an id, near enough to find the id again."""
    if NUMBER.fullmatch(name):
        return f"{float(name):.5e}"
    if name.lower() in ("true", "false"):
        return name.upper()
    return "#NAME?" if name.startswith(("-", "+", "=", "@")) else name


def _explain(fault: Fault, name: str, missing: dict[str, str]) -> Fault:
    """Say so where an unknown id is what a spreadsheet made of a missing one, given by `_spreadsheet_form`."""
    remedy = f"{SUBMIT} and do not open it in a spreadsheet"
    if (original := missing.get(_spreadsheet_form(name))) is not None:
        reason = f"{fault.reason}, while {original!r} is missing: a spreadsheet rewrote it"
        return replace(fault, reason=reason, remedy=remedy)
    if _DATE.fullmatch(name):
        return replace(fault, reason=f"{fault.reason}, which looks like a date that a spreadsheet made", remedy=remedy)
    return fault
