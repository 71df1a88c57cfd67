"""Find files of pictures and sound where they are named: files, folders or patterns."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.config.errors import StageError
from pipeline.features.media import NO_MEDIA, UnreadableMedia, is_medium, open_medium
from pipeline.inputs.index.sources import in_order, named_files
from pipeline.inputs.records.file_kinds import kind_of_file

_FEATURES = ("npy", "npz", "hdf5", "parquet", "tar", "tfrecord")


def find_media(named: Sequence[Path]) -> tuple[list[Path], int]:
    """Return the files of pictures and sound, ordered by the bytes of their names, and the number of others.

    What a folder or a pattern brings along that is of another kind is passed over.

    Raises:
        StageError: there is no such file, or one that is named outright is of another kind.
        OSError: one cannot be read.
    """
    found: dict[Path, None] = {}
    others = 0
    for each in named:
        there = [path for path in named_files(str(each), "**/*") if path.is_file()]
        if not there:
            raise StageError(f"{each}: there is no such file, or the folder is empty; name files, folders or patterns")
        for path in there:
            if is_medium(path):
                found[path] = None
            elif path == each:
                raise StageError(f"{path} holds neither moving pictures nor sound; name videos, or folders of them")
            else:
                others += 1
    if not found:
        raise StageError("there is no video and no sound file: name files, folders or patterns in quotes")
    return in_order(found), others


def divided(named: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the files of pictures and sound, in the order in which they are named, and those that may hold features.

    Of a folder or a pattern with pictures or sound, what holds neither these nor features is passed over. One without
    any is returned as it is named.
    """
    media: dict[Path, None] = {}
    others: list[Path] = []
    for each in named:
        there = in_order(path for path in named_files(str(each), "**/*") if path.is_file())
        seen = [path for path in there if _may_be_seen(path)]
        media |= dict.fromkeys(seen)
        others += [path for path in there if path not in media and _holds_features(path)] if seen else [each]
    return list(media), others


def _may_be_seen(path: Path) -> bool:
    """Return whether a file is of a known kind of pictures or sound, or FFmpeg finds some in it."""
    try:
        if (kind := kind_of_file(path)) is not None:
            return kind.format not in NO_MEDIA
        with open_medium(path):
            return True
    except (OSError, UnreadableMedia, StageError):  # it is told where it is read
        return False


def _holds_features(path: Path) -> bool:
    kind = kind_of_file(path)
    return kind is None or kind.format in _FEATURES
