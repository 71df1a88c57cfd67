"""Check a file against a host's sample submission: columns, ids, their order, and what the cells hold."""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pipeline.config.wording import counted, listed
from pipeline.inputs.records.file_kinds import kind_of_file
from pipeline.inputs.text import UnreadableText, byte_order_mark, stream_lines
from pipeline.submission.like_ids import near_misses
from pipeline.submission.like_sample import TEXTS, Sample, beside
from pipeline.submission.lines import SubmissionFault, confidence_fault, short
from pipeline.submission.validation import FAULT_LIMIT, beyond_limit

_SUBMIT = "write the file again with `python -m pipeline.submit --like`"
_PLAIN = re.compile(r"[-+.0-9eE\n]+")  # of these characters `float` reads what a probability may be, and no more


def check_like(path: Path, sample: Sample, top_k: int | None = None) -> list[SubmissionFault]:
    """Return the faults of a file by line; an empty list if it is like the sample. Memory holds the sample's ids.

    The columns and the ids must be those of the sample, in its order. Ends of lines and quotes are free. Where the
    sample's classes are not known, labels are only checked for being numbers, if the sample's are.

    Args:
        path: the file, gzipped where it ends in `.gz`.
        sample: what it must be like.
        top_k: the most labels of a row; by default as many as a row of the sample has at most.
    Returns:
        The first `FAULT_LIMIT` faults, one for all missing ids, and one that says how many more there are.
    Raises:
        StageError: the file cannot be read, or `top_k` does not fit the sample.
    """
    if kind := _kind_fault(path):
        return [kind]
    check, count = _Check(path, sample, sample.cells.count(sample.path, top_k)), 0
    kept: list[SubmissionFault] = []
    for fault in check.faults():
        count += 1
        if len(kept) < FAULT_LIMIT:
            kept.append(fault)
    kept = check.explained(kept)
    more = count - len(kept)
    if missing := check.missing():
        kept.append(missing)
    return [*kept, beyond_limit(kept, more)] if more else kept


class _Check:
    """The state of a check: which ids were there so far."""

    def __init__(self, path: Path, sample: Sample, most: int):
        self._path, self._sample, self._most = path, sample, most
        self._places = {video: place for place, video in enumerate(sample.ids)}
        self._lines: dict[str, int] = {}
        self._unknown: dict[SubmissionFault, str] = {}
        self._last: tuple[int, str] = (-1, "")
        self._line = 1
        self._stopped = False

    def faults(self) -> Iterator[SubmissionFault]:
        """Yield the faults in the order of the lines."""
        ended = True

        def lines() -> Iterator[str]:
            nonlocal ended
            for line in stream_lines(self._path):
                ended = line.endswith(("\n", "\r"))
                yield line

        reader = csv.reader(lines(), delimiter=self._sample.separator, strict=True)
        try:
            if mark := byte_order_mark(self._path):
                reason = f"the file begins with a byte order mark ({mark.upper()})"
                yield SubmissionFault(1, "character 1", reason, "save it as UTF-8 without")
            yield from self._rows(reader)
        except UnreadableText as error:
            yield self._stop(error.line, error.reason, error.remedy)
        except csv.Error as error:
            yield self._stop(max(reader.line_num, 1), f"the row cannot be read ({error})", _SUBMIT)
        if not ended and not self._stopped:
            reason = "the last line has no end: the file may have been cut off"
            yield SubmissionFault(max(reader.line_num, 1), "file", reason, _SUBMIT)

    def missing(self) -> SubmissionFault | None:
        """Return the fault that names the ids that were not there; none if the file was not read to its end."""
        missing = [video for video in self._sample.ids if video not in self._lines]
        if self._stopped or not missing:
            return None
        name = self._sample.columns[self._sample.id_column]
        reason = f"ids missing from the file: {len(missing)}: {listed([*map(repr, missing)])}"
        return SubmissionFault(self._line, name, reason, _SUBMIT)

    def explained(self, faults: list[SubmissionFault]) -> list[SubmissionFault]:
        """Return the faults; an unknown id is shown with the one of the sample that it is nearly."""
        here = [self._unknown[fault] for fault in faults if fault in self._unknown]
        near = near_misses(here, self._sample.ids) if here else {}

        def explain(fault: SubmissionFault) -> SubmissionFault:
            other = near.get(self._unknown.get(fault, ""))
            reason = f"{fault.reason}, where the sample has {short(other)}" if other else fault.reason
            return SubmissionFault(fault.line, fault.column, reason, fault.remedy)

        return list(map(explain, faults))

    def _stop(self, line: int, reason: str, remedy: str) -> SubmissionFault:
        self._stopped = True
        return SubmissionFault(line, "file", reason, remedy)

    def _rows(self, reader: "csv._reader") -> Iterator[SubmissionFault]:
        header = next(reader, [])
        if not header:
            yield self._stop(1, "the header is missing: the first line is blank, or there is none", _SUBMIT)
            return
        columns, at = self._sample.columns, self._sample.id_column
        if header != columns:
            if len(header) == len(columns) and header[at] in self._places:  # a row already
                remedy = f"add the line {short(self._sample.separator.join(columns))}"
                yield self._stop(1, "the header is missing", remedy)
                return
            yield SubmissionFault(1, *_header_fault(header, columns))
            if columns[at] not in header or len(header) < 2:
                self._stopped = True  # nobody can know what the rows hold
                return
            at = header.index(columns[at])
        names = beside(header, at)
        before = reader.line_num
        for row in reader:
            line, before = before + 1, reader.line_num
            self._line = line
            if not row:
                yield SubmissionFault(line, "character 1", "the line is blank", "remove it")
                continue
            if at < len(row):
                yield from self._id_faults(line, header[at], row[at])
            if len(row) != len(header):
                reason = f"{counted(len(row), 'cell')}, where the header has {counted(len(header), 'column')}"
                yield SubmissionFault(line, f"column {min(len(row), len(header)) + 1}", reason, _SUBMIT)
                continue
            cells = beside(row, at)
            if self._sample.cells.form == "columns":
                yield from _probability_faults(line, names, cells)
            elif len(cells) == 1:
                yield from self._label_faults(line, names[0], cells[0])

    def _id_faults(self, line: int, column: str, video: str) -> Iterator[SubmissionFault]:
        place = self._places.get(video)
        if place is None:
            fault = SubmissionFault(line, column, f"unknown id {short(video)}", "write the sample's ids, and no others")
            self._unknown[fault] = video
            yield fault
            return
        if video in self._lines:
            reason = f"id {short(video)} is on line {self._lines[video]} already"
            yield SubmissionFault(line, column, reason, "keep one row for each id")
            return
        self._lines[video] = line
        if place < self._last[0]:
            reason = f"id {short(video)} comes after {short(self._last[1])}, and before it in the sample"
            yield SubmissionFault(line, column, reason, "write the rows in the sample's order")
        self._last = place, video

    def _label_faults(self, line: int, column: str, cell: str) -> Iterator[SubmissionFault]:
        cells = self._sample.cells
        if not cell.strip():
            if cells.empty:
                return
            yield SubmissionFault(line, column, "no labels", "each id needs at least one")
            return
        tokens = cell.split(cells.between) if cells.between else [cell]
        step, word = (2, "pair") if cells.form == "pairs" else (1, "label")
        if len(tokens) % step:
            reason = f"an odd number of fields, {len(tokens)}: some label or confidence is missing"
            yield SubmissionFault(line, f"{column}, pair {len(tokens) // 2 + 1}", reason, _SUBMIT)
            return
        labels = tokens[::step]
        if len(labels) > self._most:
            remedy = f"keep the best {self._most}, or say with --submission.top-k how many the host takes"
            reason = counted(len(labels), word)
            yield SubmissionFault(line, f"{column}, {word} {self._most + 1}", reason, remedy)
        used: set[str] = set()
        for number, label in enumerate(labels, 1):
            if reason := self._label_fault(label, used):
                yield SubmissionFault(
                    line, f"{column}, {word} {number}", reason, "write each class once, as it is called"
                )
            used.add(label)
        for number, score in enumerate(tokens[1::2] if step == 2 else [], 1):
            if reason := confidence_fault(score):
                yield SubmissionFault(line, f"{column}, {word} {number}", reason, "confidences are numbers from 0 to 1")

    def _label_fault(self, label: str, used: set[str]) -> str | None:
        cells = self._sample.cells
        if label in used:
            return f"label {short(label)} occurs twice"
        if cells.classes is not None:
            known = label in cells.classes.table_of(cells.by_name)
            return None if known else f"label {cells.classes.listed([label])} is not a class"
        if not label or (not cells.by_name and not re.fullmatch(r"\d+", label, re.ASCII)):
            return f"label {short(label)} is not {'a name' if cells.by_name else 'a number of a class'}"
        return None


def _probability_faults(line: int, names: list[str], cells: list[str]) -> Iterator[SubmissionFault]:
    different = set(cells)  # most are 0
    try:
        if _PLAIN.fullmatch("\n".join(different)):
            values = list(map(float, different))
            if min(values) >= 0 and max(values) <= 1:
                return
    except ValueError:
        pass
    for name, cell in zip(names, cells):
        if not cell.strip():
            yield SubmissionFault(line, name, "the cell is empty", "write a number from 0 to 1")
        elif reason := confidence_fault(cell):
            yield SubmissionFault(line, name, reason, "probabilities are numbers from 0 to 1")


def _header_fault(header: list[str], columns: list[str]) -> tuple[str, str, str]:
    """Return column, reason and remedy."""
    lacking = [name for name in columns if name not in header]
    foreign = [name for name in header if name not in columns]
    twice = [name for name, count in Counter(header).items() if count > 1]
    if lacking or foreign or twice:
        said = {"lacking": lacking, "not in the sample": foreign, "there twice": twice}
        reason = "; ".join(
            f"{counted(len(names), 'column')} {what}: {listed([*map(repr, names)])}"
            for what, names in said.items()
            if names
        )
        return "header", reason, "write the sample's columns"
    place = next(place for place, pair in enumerate(zip(header, columns)) if pair[0] != pair[1])
    reason = f"column {place + 1} is {short(header[place])}, where the sample has {short(columns[place])}"
    return "header", reason, "write the columns in the sample's order"


def _kind_fault(path: Path) -> SubmissionFault | None:
    kind, gzipped = kind_of_file(path), path.suffix == ".gz"
    found = kind.format if kind else None
    if found == "empty":
        return SubmissionFault(1, "file", "the file is empty", _SUBMIT)
    if found == "gzip" and not gzipped:
        return SubmissionFault(1, "file", "it is gzipped", "give it a name that ends in .gz")
    if gzipped and found != "gzip":
        return SubmissionFault(
            1, "file", f"it is {kind.name if kind else 'text'} and not gzipped", "give it a name without .gz"
        )
    if found not in TEXTS:
        return SubmissionFault(1, "file", f"it is {kind.name}, not a CSV like the sample", _SUBMIT)  # type: ignore[union-attr]
    return None
