"""What systems and editors lay beside files: it is no data, wherever a folder is listed."""

import re
from collections.abc import Iterator
from pathlib import Path

_HIDDEN = re.compile(
    r"""
    \.(?!\.?\Z).*                   # hidden; macOS's ._a.tfrecord and .DS_Store, .ipynb_checkpoints, half-written files
    | __MACOSX | Icon\r             # of macOS, in archives and on shares
    | @eaDir | @Recycle | @Recently-Snapshot | \#recycle | \#snapshot  # of Synology and QNAP
    | \$RECYCLE\.BIN | System\ Volume\ Information | Thumbs\.db | desktop\.ini | ~\$.*  # of Windows and Office
    | lost\+found
    | .*~ | \#.*\#                  # of editors
    """,
    re.VERBOSE | re.DOTALL,
)


def is_hidden(path: str) -> bool:
    """Return whether a name is of this kind, or a part of a path relative to the folder that is listed."""
    return any(_HIDDEN.fullmatch(part) for part in path.split("/"))


def visible(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield what matches a pattern below a folder, and is not hidden or inside of what is; the folder itself may be."""
    for path in folder.glob(pattern):
        if not is_hidden(path.relative_to(folder).as_posix()):
            yield path
