"""The datasets of an HDF5 file, wherever they lie in it, and why some cannot be read: nothing leads out of the file."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from h5py import h5d, h5g, h5l, h5o

from pipeline.packing.sources.source import ANEW, FAULTS

_MOST_INFLATED = 1100
"""Times that the bytes of a dataset become more, at most: deflate makes 1,032 of one."""
_SMALL = 1 << 20
"""Bytes that a dataset may have in any case, such as one that was never written to and holds its fill value."""
_CHUNK = 1 << 30
"""Bytes of a chunk, at most."""
_DEEPEST = 32
"""Groups in each other."""
_LINKS = 32
"""Soft links that lead to each other."""
_INSIDE = "put the dataset itself into the file, for example with h5repack or h5py's copy"


class Held(NamedTuple):
    """A dataset, or why there is none where a link is."""

    path: str
    """Below the root, without a slash before it."""
    shape: tuple[int, ...]
    dtype: np.dtype
    fault: str | None
    is_link: bool = False
    """Whether nothing is known of what the link leads to."""


def datasets_of(file: h5g.GroupID, first: bytes) -> Iterator[Held]:
    """Yield the datasets of a file in the order of their names, and links that are not followed; of the group `first`
    alone if there is one at the root."""
    root = h5g.open(file, b"/")
    if root.links.exists(first) and root.links.get_info(first).type == h5l.TYPE_HARD:
        begin = h5o.open(root, first)
        if isinstance(begin, h5g.GroupID):
            yield from _walk_group(root, begin, first + b"/", {_address(root)}, _Dtypes())
            return
    yield from _walk_group(root, root, b"", set(), _Dtypes())


class _Dtypes:
    """Tells the dtype of datasets; most of a file have one, and to compare types takes less than to translate them."""

    def __init__(self) -> None:
        self._type: Any = None
        self._dtype = np.dtype(object)

    def of(self, held: h5d.DatasetID) -> np.dtype:
        kind = held.get_type()
        if self._type is None or not self._type.equal(kind):
            self._type, self._dtype = kind, held.dtype
        return self._dtype


def _walk_group(
    root: h5g.GroupID, group: h5g.GroupID, prefix: bytes, seen: set[Any], dtypes: _Dtypes
) -> Iterator[Held]:
    seen.add(_address(group))
    links: list[tuple[bytes, int]] = []
    group.links.iterate(lambda name, info: links.append((name, info.type)), info=True)
    for name, kind in sorted(links):
        path = prefix + name
        try:
            there = _open(group, name) if kind == h5l.TYPE_HARD else _open_inside(root, group, name, [_LINKS])
            if isinstance(there, h5g.GroupID):
                if path.count(b"/") > _DEEPEST:
                    raise ValueError(f"more than {_DEEPEST} groups are in each other; {ANEW}")
                if _address(there) not in seen:  # groups may be linked to in a circle
                    yield from _walk_group(root, there, path + b"/", seen, dtypes)
            elif isinstance(there, h5d.DatasetID):
                yield _look_at(path.decode(errors="surrogateescape"), there, dtypes)
        except FAULTS as error:
            yield Held(path.decode(errors="surrogateescape"), (), np.dtype(object), str(error), is_link=True)


def _open(group: h5g.GroupID, name: bytes) -> Any:
    """Open what a group holds; most is a dataset, and finding that out takes as long as opening it."""
    try:
        return h5d.open(group, name)
    except FAULTS:
        return h5o.open(group, name)


def _open_inside(root: h5g.GroupID, group: h5g.GroupID, path: bytes, left: list[int]) -> Any:
    """Open what lies at a path, if no link on the way leaves the file; `left` counts the soft links to follow."""
    here = root if path.startswith(b"/") else group
    for part in path.split(b"/"):
        if part in (b"", b"."):
            continue
        if not isinstance(here, h5g.GroupID) or not here.links.exists(part):
            raise ValueError("the link leads nowhere: mend or remove it")
        kind = here.links.get_info(part).type
        if kind == h5l.TYPE_SOFT:
            left[0] -= 1
            if left[0] < 0:
                raise ValueError("soft links lead to each other without an end: remove them")
            here = _open_inside(root, here, here.links.get_val(part), left)
        elif kind == h5l.TYPE_HARD:
            here = h5o.open(here, part)
        else:
            raise ValueError(f"the link leads out of the file, and is not followed: {_INSIDE}")
    return here


def _address(group: h5g.GroupID) -> tuple[int, int]:
    info = h5g.get_objinfo(group, b".")
    return info.fileno[0], info.objno[0]


def _look_at(path: str, held: h5d.DatasetID, dtypes: _Dtypes) -> Held:
    try:
        shape, dtype = held.shape, dtypes.of(held)
        # What lies in one piece in the file has an offset; asking how anything else is stored takes longer.
        layout = None if held.get_offset() is not None else held.get_create_plist()
    except FAULTS as error:
        return Held(path, (), np.dtype(object), f"its type cannot be read ({error}): write it as integers or floats")
    return Held(path, shape, dtype, _layout_fault(held, shape, dtype, layout))


def _layout_fault(held: h5d.DatasetID, shape: tuple[int, ...] | None, dtype: np.dtype, layout: Any) -> str | None:
    """Return why a dataset cannot be read, and what to do; `layout` is None where the values lie in one piece."""
    if shape is None:
        return "the dataset is empty (it has no shape): write the values, or remove it"
    if layout and (layout.get_external_count() or layout.get_layout() == h5d.VIRTUAL):
        return f"the values lie in other files or datasets, which are not read: {_INSIDE}"
    size, stored = math.prod(shape) * dtype.itemsize, held.get_storage_size()
    if size > _MOST_INFLATED * stored + _SMALL:
        return f"it is to have {size:,} bytes, and {stored:,} are stored: the values were never written, write them"
    chunked = layout and layout.get_layout() == h5d.CHUNKED
    chunk = math.prod(layout.get_chunk()) * dtype.itemsize if chunked else 0
    if chunk > _CHUNK:
        return (
            f"a chunk of it has {chunk:,} bytes; at most {_CHUNK:,} can be read: write it in smaller chunks (h5repack)"
        )
    return None
