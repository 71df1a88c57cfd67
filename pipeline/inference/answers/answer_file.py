"""A file of answers, a line of JSON for each video: written whole or not at all, gone on with, and kept up to date."""

import contextlib
import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from pipeline.artifacts.done import digest_json
from pipeline.artifacts.failures import about
from pipeline.artifacts.files import atomic_file
from pipeline.artifacts.locks import locked
from pipeline.artifacts.stored_json import parse_json
from pipeline.config.errors import StageError
from pipeline.config.wording import counted, listed
from pipeline.inference.given.videos import OwnVideo
from pipeline.inputs.index.sources import size_and_mtime
from pipeline.runtime.output import printable_json

_LONGEST = 16 << 20
"""Bytes of a line; one with 100,000 labels has a half."""


class _Line(NamedTuple):
    """Where a line lies."""

    path: Path
    offset: int
    length: int


class AnswerFile:
    """The answers that are there, and those that are to be; made by `answer_file`."""

    def __init__(self, path: Path, model: str, journal: BinaryIO, known: dict[str, _Line]):
        self.path, self._model, self._journal = path, model, journal
        self._known = known
        self._lines: list[_Line] = []
        self._keys: set[str] = set()
        self._seen: set[str] = set()
        self.kept = 0
        """Videos whose lines were there."""
        self.is_written = False
        self._status = functools.cache(size_and_mtime)

    def has(self, video: OwnVideo) -> bool:
        """Return whether the answer of this model to this video, unchanged, is there. Raises OSError."""
        return _key(self._fields(video)) in self._known

    def keep(self, video: OwnVideo) -> None:
        """Take over the line that is there."""
        fields = self._fields(video)
        self._note(fields, self._known[_key(fields)])
        self.kept += 1

    def add(self, video: OwnVideo, values: dict[str, Any]) -> None:
        """Add a line with the values that answer for the video."""
        fields = self._fields(video)
        line = printable_json({"id": video.id, **values, **fields}).encode() + b"\n"
        with about(self.path):
            offset = self._journal.tell()
            self._journal.write(line)
            self._journal.flush()
        self._note(fields, _Line(_journal(self.path), offset, len(line)))

    def write(self) -> list[str]:
        """Write the file, and return in words which videos it does not hold any more."""
        dropped = list(self._dropped()) if self._known else []
        with atomic_file(self.path) as temporary, contextlib.ExitStack() as stack:
            output = stack.enter_context(temporary.open("wb"))
            opened = functools.cache(lambda path: stack.enter_context(path.open("rb")))
            for path, offset, length in self._lines:
                file = opened(path)
                file.seek(offset)
                output.write(file.read(length))
        self.is_written = True
        return dropped

    def _fields(self, video: OwnVideo) -> dict[str, Any]:
        """Return what a line says of its making: the same for the same videos and the same model."""
        sources = []
        for path, entry in video.places:
            size, mtime = self._status(path)
            sources.append({"file": str(path.absolute()), "entry": entry, "size": size, "mtime": mtime})
        return {"sources": sources, "id": video.id, "model": self._model}

    def _note(self, fields: dict[str, Any], line: _Line) -> None:
        self._lines.append(line)
        self._keys.add(_key(fields))
        self._seen.add(_identity(fields))

    def _dropped(self) -> Iterator[str]:
        gone, others = [], []
        for _, fields in _lines(self.path):
            if _key(fields) in self._keys or _identity(fields) in self._seen:
                continue
            there = all(Path(source["file"]).exists() for source in fields["sources"])
            (others if there else gone).append(fields["id"])
        for ids, why in (
            (gone, "whose files are gone"),
            (others, "that the files named now do not hold, or not whole"),
        ):
            if ids:
                yield f"{counted(len(ids), 'video')} {why}: {listed(ids)}"


@contextlib.contextmanager
def answer_file(path: Path, model: str, *, go_on: bool) -> Iterator[AnswerFile]:
    """Yield the file at a path, locked. New answers lie in a journal beside it, which goes when the file is written.

    Args:
        path: of the file.
        model: a digest of all that an answer depends on, but for the video.
        go_on: keep the answers that are there, and those in the journal of a command that was stopped; without it,
            they are replaced.

    Raises:
        StageError: another process is at work on it, or what is there is no file of answers and would be replaced.
        OSError: the system refuses to write it.
    """
    if path.is_dir():
        raise StageError(f"--output {path} is a folder: name a file in it")
    with locked(path):
        journal = _journal(path)
        if go_on:
            _cut(journal)
            known = {_key(fields): line for each in (journal, path) for line, fields in _lines(each)}
        else:
            next(_lines(path), None)
            journal.unlink(missing_ok=True)
            known = {}
        with about(path):
            file = journal.open("ab")
        with file:
            answers = AnswerFile(path, model, file, known)
            yield answers
        if answers.is_written or not journal.stat().st_size:
            journal.unlink()


def _journal(path: Path) -> Path:
    return path.with_name(f".{path.name}.journal")


def _cut(journal: Path) -> None:
    """Remove a line that was not written to its end."""
    if journal.exists():
        with journal.open("r+b") as file:
            end = 0
            while (line := file.readline(_LONGEST)).endswith(b"\n"):
                end += len(line)
            file.truncate(end)


def _lines(path: Path) -> Iterator[tuple[_Line, dict[str, Any]]]:
    """Yield where each line lies, and what it says of its making; raises StageError if it says nothing."""
    if not path.exists():
        return
    with path.open("rb") as file:
        offset = 0
        for number in itertools.count(1):
            line = file.readline(_LONGEST)
            if not line:
                return
            try:
                yield _Line(path, offset, len(line)), _fields_of(parse_json(line.decode()))
            except (ValueError, KeyError, TypeError):
                raise StageError(
                    f"{path}, line {number}: predict has not written this, and would replace it: choose another "
                    "--output, or move the file away"
                ) from None
            offset += len(line)


def _fields_of(values: Any) -> dict[str, Any]:
    sources = [{name: source[name] for name in ("file", "entry", "size", "mtime")} for source in values["sources"]]
    if not all(isinstance(each, str) for each in (values["id"], *(source["file"] for source in sources))):
        raise TypeError
    return {"sources": sources, "id": values["id"], "model": values["model"]}


def _key(fields: dict[str, Any]) -> str:
    """Return a digest of what the answer to a video depends on."""
    return digest_json(fields)


def _identity(fields: dict[str, Any]) -> str:
    """Return a digest of which video it is, whatever its content."""
    return digest_json(fields["id"], [[source["file"], source["entry"]] for source in fields["sources"]])
