"""Features in files of every format: the same videos come back, and what cannot be read is named with its remedy."""

import os
import pickle

import h5py
import numpy as np
import pytest
from fixtures.feature_files import WRITERS, Rows, Written, npy_bytes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.config.errors import StageError
from pipeline.packing.features import UnreadableFeature, open_features

VIDEOS = {
    id: np.random.default_rng(len(id)).normal(size=(n, 3)).astype(np.float32)
    for id, n in {"a": 4, "b.2": 1, "c d": 7, "z-1": 3, "ключ": 2}.items()
}


def opened(written: Written, name: str = "rgb", id_column: str | None = None):
    return open_features(name, written.pattern, written.rows, id_column, workers=1)


def assert_same(source, videos):
    assert source.faults == []
    assert sorted(source.ids) == sorted(videos)
    assert source.size == next(iter(videos.values())).shape[1]
    for number, id in enumerate(source.ids):
        values = source.read(number)
        assert values.dtype == source.dtype == next(iter(videos.values())).dtype
        assert source.lengths[number] == len(values)
        np.testing.assert_array_equal(values, videos[id])


@pytest.mark.parametrize("format", WRITERS)
def test_the_same_videos_in_every_format(tmp_path, format):
    source = opened(WRITERS[format](tmp_path, VIDEOS))
    assert source.ids == list(VIDEOS)
    assert_same(source, VIDEOS)
    files = source.files()
    assert files == sorted(set(files)) and all(file.is_file() for file in files)
    copy = pickle.loads(pickle.dumps(source))  # after it has opened its files
    for number in (4, 0, 2, 2, 1, 3):
        np.testing.assert_array_equal(copy.read(number), VIDEOS[copy.ids[number]])
        assert any(copy.where(number).startswith(str(file)) for file in files)
    copy.close()
    np.testing.assert_array_equal(copy.read(4), VIDEOS["ключ"])
