"""Parts of files for direct reads, and how many files stay open."""

import os
import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.errors import StageError
from pipeline.inputs.reading import open_files
from pipeline.inputs.reading.open_files import ALIGNMENT, OpenFiles, align_for_direct_read


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 22))
def test_what_is_read_directly_is_the_least_that_is_aligned_and_holds_it(offset, length):
    start, size = align_for_direct_read(offset, length)
    assert start % ALIGNMENT == size % ALIGNMENT == 0
    assert start <= offset < start + ALIGNMENT
    assert size - ALIGNMENT < offset + length - start <= size


def test_files_stay_open_as_far_as_there_is_room(small_index, monkeypatch):
    monkeypatch.setattr(open_files, "_raise_limit", lambda: 2)
    paths = small_index.paths
    for number, path in enumerate(paths):
        status = path.stat()
        path.write_bytes(bytes([number]) + path.read_bytes()[1:])
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    files = OpenFiles(small_index, direct=False)
    shards = np.array([3, 0, 2, 3, 1])
    for _ in range(2):
        with files.of(shards) as descriptors:
            assert [os.pread(descriptor, 1, 0)[0] for descriptor in descriptors] == shards.tolist()
            held = set(descriptors.tolist())
        assert len([descriptor for descriptor in held if _is_open(descriptor)]) == 2
    files.close()
    assert not [descriptor for descriptor in held if _is_open(descriptor)]
    paths[1].unlink()
    with (
        pytest.raises(StageError, match=r"train1.tfrecord cannot be read: No such file.*run ingest again"),
        files.of(shards),
    ):
        pass


def test_a_system_without_direct_reads_reads_as_usual(small_index, monkeypatch):
    monkeypatch.delattr(os, "O_DIRECT", raising=False)
    files = OpenFiles(small_index, direct=True)
    with files.of(np.array([1])) as descriptors:
        assert os.pread(descriptors[0], 9, 3) == small_index.paths[1].read_bytes()[3:12]
    files.close()


def test_a_file_that_is_refused_does_not_stay_open(small_index):
    with small_index.paths[1].open("ab") as file:
        file.write(b"more")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(2):
        with pytest.raises(StageError, match=r"train1.* has"), OpenFiles(small_index, False).of(np.array([1])):
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_limit_is_raised_as_far_as_it_may_be():
    room = open_files._raise_limit()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft >= min(hard, 65_536) > 0 and room == soft // 2


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
        return True
    except OSError:
        return False
