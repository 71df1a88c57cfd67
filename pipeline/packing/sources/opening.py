"""Find the features of videos in files of any kind: which reader reads what, and which videos there are."""

import functools
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pipeline.artifacts.failures import about, is_refusal
from pipeline.artifacts.files import read_at
from pipeline.artifacts.paths import expand_home
from pipeline.config.errors import StageError
from pipeline.inputs.index.sources import in_order, named_files
from pipeline.inputs.records.file_kinds import kind_of_file
from pipeline.packing.sources.files_source import FilesSource, Needed
from pipeline.packing.sources.npy import MAGIC, open_arrays, open_npy, opened
from pipeline.packing.sources.source import ANEW, FAULTS, FeatureSource, Found, UnreadableFeature, Zeros, what_is_there
from pipeline.packing.sources.stacked import NUM_FRAMES, Contents, find_id_column, stack_videos
from pipeline.runtime.parallel import map_in_processes

if TYPE_CHECKING:
    from pipeline.packing.tables.table import Table

__all__ = ["FeatureSource", "UnreadableFeature", "files_of_rows", "look_at_files", "look_into", "open_features"]

T = TypeVar("T")

_READ = "npy, npz, HDF5, Parquet or tar"
_MANY, _AT_ONCE = 50_000, 512
"""So many files are looked at in several processes, and so many at once by each."""


def open_features(
    name: str,
    pattern: str,
    rows: "Table | None",
    id_column: str | None,
    workers: int,
    needed: Needed | None = None,
) -> FilesSource:
    """Look at the headers of files, and return the videos with a feature that lie in them.

    Values are not read, but for those by which a Parquet table's frames are counted. What a folder or a pattern brings
    along that is no data (see `pipeline.artifacts.hidden`) is passed over.

    Args:
        name: of the feature; arrays, groups, columns and members of its name are taken where there are several.
        pattern: a file, a folder, or a pattern of files, which may begin with ~ and hold **.
        rows: the ids of the rows of stacked arrays, which follow each other in the order of their files' names.
        id_column: the column or array of ids, in `rows` and in the files.
        workers: processes that look at files, where there are many.
        needed: what a model needs; see `FilesSource`.

    Raises:
        StageError: there are no such files, or no video in them can be used; two videos have one id; or a stacked array
            does not fit the table of its rows.
        OSError: the system refuses to read a file.
    """
    place = expand_home(pattern)
    paths = in_order(named_files(place, "**/*"))
    contents = look_at_files(functools.partial(look_into, feature=name, id_column=id_column), paths, workers)
    if not any(each.videos or each.array for each in contents):  # folders at most
        raise StageError(
            f"--features {name}={pattern}: there is no such file; write it as a file, a folder or a "
            f"pattern in quotes. {what_is_there(Path(place))}"
        )
    return FilesSource(name, videos_of(paths, contents, rows, id_column), needed)


def open_npy_files(name: str, paths: Sequence[Path], zeros: Sequence[tuple[str, int]], workers: int) -> FilesSource:
    """Return the videos with a feature in .npy files, each named by its id; raises as `open_features` does.

    Args:
        name: of the feature.
        paths: of the files.
        zeros: ids and numbers of frames of videos whose feature is all zeros.
        workers: processes that look at files, where there are many.
    """
    contents = look_at_files(functools.partial(look_into, feature=name, id_column=None), paths, workers)
    found = videos_of(paths, contents, None, None)
    if zeros and (like := next((each for each in found if each.ids), None)):
        size, dtype = like.sizes[0], like.dtypes[0]
        absent = Zeros(paths[0].parent, size, [length for _, length in zeros])
        found.append(Found.of(absent, [(id, (length, size), dtype) for id, length in zeros]))
    return FilesSource(name, found)


def files_of_rows(pattern: str) -> list[Path]:
    """Return the tables that --rows names. Raises StageError if there are none."""
    paths = in_order(path for path in named_files(expand_home(pattern), "*") if path.is_file())
    if not paths:
        raise StageError(f"--rows {pattern}: there is no such file. {what_is_there(Path(expand_home(pattern)))}")
    return paths


def look_at_files(look: Callable[[Path], T], paths: Sequence[Path], workers: int) -> list[T]:
    """Return what `look` says of each file; it works in several processes where there are many."""
    return list(map_in_processes(look, paths, workers if len(paths) >= _MANY else 1, _AT_ONCE))


def look_into(path: Path, feature: str, id_column: str | None) -> Contents:
    """Return what a file holds. Raises OSError if the system refuses to read it."""
    try:
        with about(path):
            return _by_kind(path, feature, id_column)
    except FAULTS as error:
        if is_refusal(error):
            raise
        return Contents(Found.none(path, f"the file cannot be read ({str(error)[:300]}); {ANEW}"))


def _by_kind(path: Path, feature: str, id_column: str | None) -> Contents:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return Contents(Found.none(path, "the link leads to no file: mend or remove it"))
    if stat.S_ISDIR(mode):  # a pattern brings them along
        return Contents(None)
    if not stat.S_ISREG(mode):
        return Contents(Found.none(path, "it is neither a file nor a folder: remove it, or name other files"))
    with opened(path) as descriptor:
        if read_at(descriptor, len(MAGIC), 0) == MAGIC:
            return open_npy(path, descriptor)
    kind = kind_of_file(path)
    if kind is None:
        reason = f"the first bytes are not those of {_READ}: it is of another kind, or damaged"
        return Contents(Found.none(path, f"{reason}; name files of these kinds"))
    # Libraries that a process need not have for the files that it reads.
    if kind.format == "npz":
        return open_arrays(path, feature, id_column)
    if kind.format == "hdf5":
        from pipeline.packing.sources.hdf5 import open_hdf5

        return open_hdf5(path, feature, id_column)
    if kind.format == "parquet":
        from pipeline.packing.sources.parquet import open_parquet

        return open_parquet(path, feature, id_column)
    if kind.format == "tar":
        from pipeline.packing.sources.tar import open_tar

        return open_tar(path, feature)
    return Contents(Found.none(path, kind.is_not(_READ, "write the features that it holds as one of these")))


def videos_of(
    paths: Sequence[Path], contents: Sequence[Contents], rows: "Table | None", id_column: str | None
) -> list[Found]:
    """Return the videos of all files, where stacked arrays without ids have those of the table of rows."""
    found: list[Found] = []
    stacked: list[Contents] = []
    ids = _row_ids(rows, id_column) if rows is not None else []
    named = set(map(str, ids))
    by_themselves = rows is None or any(each.videos and not named.isdisjoint(each.videos.ids) for each in contents)
    for path, each in zip(paths, contents):
        array, label = each.array, f"{path}, row {{}}"
        if array is not None and each.ids is not None:
            found.append(stack_videos([array], each.ids, each.counts, label.format))
        elif each.unstacked is not None and not by_themselves:
            found.append(each.unstacked)
        elif each.videos is not None and (by_themselves or array is None):
            found.append(each.videos)
        elif array is not None and rows is not None:
            if not stacked:
                place = len(found)
            stacked.append(each)
        elif array is not None and each.counts is not None:
            numbered = [f"{path.name}:{row}" for row in range(array.shape[0])]
            found.append(stack_videos([array], numbered, each.counts, label.format))
        elif array is not None:
            reason = (
                f"the array is {list(array.shape)}, and a video is [frames, values]. Write each video as an array of "
                "its own; or, where rows are videos, name a table of their ids with --rows, or write the ids "
                f"[{array.shape[0]}] beside it"
            )
            found.append(Found.none(array.where(), reason))
    if stacked and rows is not None:
        counts: Sequence[object] | None = rows.column(NUM_FRAMES) if NUM_FRAMES in rows.names else None
        if counts is None and all(each.counts is not None for each in stacked):
            counts = [count for each in stacked for count in each.counts or ()]
        arrays = [each.array for each in stacked if each.array is not None]
        found.insert(place, stack_videos(arrays, ids, counts, rows.where))
    return found


def _row_ids(rows: "Table", id_column: str | None) -> Sequence[object]:
    names = [name for name in rows.names if name != NUM_FRAMES]
    texts = [name for name in names if any(isinstance(value, str) for value in rows.column(name)[:1000])]
    return rows.column(find_id_column(names, texts, id_column, "--rows"))
