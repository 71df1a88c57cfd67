"""Find files of pictures and sound where they are named: files, folders or patterns."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.config.errors import StageError
from pipeline.features.media import is_medium
from pipeline.inputs.index.sources import in_order, named_files


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
