"""Files of intervals that other programs read: one CSV file of all videos, or the subtitles of each."""

import contextlib
import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from pipeline.artifacts.file_names import FileNames
from pipeline.artifacts.files import atomic_file, sync, temporary_path
from pipeline.artifacts.hidden import visible
from pipeline.config.errors import StageError
from pipeline.inference.answers.subtitles import sub_rip, web_vtt
from pipeline.inference.given.videos import OwnVideo

SUBTITLES: dict[str, Callable[[Sequence[dict[str, Any]]], str]] = {".vtt": web_vtt, ".srt": sub_rip}
"""What makes a text of intervals, by the end of the file's name."""
SUFFIXES = (".csv", *SUBTITLES)
PAGE = ".html"
"""The end of the names of pages, which may lie in one folder with subtitles."""
_COLUMNS = ("label", "name", "start", "end", "peak", "score")


class TagFile:
    """Answers on their way into files; made by `tag_file`. It is used as an `AnswerFile` is, and keeps no answer."""

    kept = 0

    def __init__(self, path: Path):
        self.path = path
        """The file, or the folder of several."""

    def has(self, video: OwnVideo) -> bool:
        """Return False."""
        return False

    def add(self, video: OwnVideo, values: dict[str, Any]) -> None:
        """Add the intervals of a video."""
        raise NotImplementedError

    def write(self) -> list[str]:
        """Write what is not written yet, and return an empty list: nothing that was there is dropped."""
        return []


class _CsvFile(TagFile):
    """Rows go to a temporary file, which replaces the file when all are there."""

    def __init__(self, path: Path, temporary: Path, file: TextIO):
        super().__init__(path)
        self._temporary, self._file, self._rows = temporary, file, csv.writer(file)
        self._rows.writerow(("id", *_COLUMNS))

    def add(self, video: OwnVideo, values: dict[str, Any]) -> None:
        self._rows.writerows((video.id, *map(each.get, _COLUMNS)) for each in values["intervals"])

    def write(self) -> list[str]:
        self._file.close()
        sync(self._temporary)
        self._temporary.replace(self.path)
        return []


class _Subtitles(TagFile):
    """Each video has a file of its own, written when its intervals are known."""

    def __init__(self, path: Path, several: bool):
        super().__init__(path.with_suffix("") if several else path)
        self._text, self._suffix, self._several = SUBTITLES[path.suffix], path.suffix, several
        self._names = FileNames()

    def add(self, video: OwnVideo, values: dict[str, Any]) -> None:
        path = self.path / self._names.of(video.id, self._suffix) if self._several else self.path
        with atomic_file(path) as temporary:
            temporary.write_text(self._text(values["intervals"]), encoding="utf-8")


@contextlib.contextmanager
def tag_file(path: Path, several: bool) -> Iterator[TagFile]:
    """Yield the file at a path that ends with one of SUFFIXES, which says what is written.

    Args:
        path: the file. The subtitles of several videos lie in a folder of this name, without the end, a file each.
        several: whether there are several videos.

    Raises:
        StageError: the file is a folder, or the folder of the subtitles has other files.
        OSError: the system refuses to write.
    """
    if path.is_dir():
        raise StageError(f"--output {path} is a folder: name a file in it")
    if path.suffix == ".csv":
        with temporary_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            yield _CsvFile(path, temporary, file)
        return
    subtitles = _Subtitles(path, several)
    if several:
        check_folder(path, "--output")
    yield subtitles


def check_folder(path: Path, flag: str) -> None:
    """Raise StageError if the folder of a file's name without its end holds anything but subtitles and pages.

    It may be one of videos: what several videos are told in would lie among them. What a killed command left
    half-written is none of them.
    """
    folder = path.with_suffix("")
    others = [folder] if folder.exists() and not folder.is_dir() else []
    if folder.is_dir():
        others = sorted(each for each in visible(folder, "*") if each.suffix not in (PAGE, *SUBTITLES))
    if others:
        raise StageError(
            f"{flag} {path}: what is said of several videos goes to the folder {folder}, a file each, and {others[0]} "
            "is none of them: choose another name"
        )
