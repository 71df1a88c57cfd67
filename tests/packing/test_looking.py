"""What a dry run sees of the values: bad videos are named, and of many some are read."""

import numpy as np
import pytest
from fixtures.features import ArraySource, random_videos

from pipeline.config import FeatureConfig
from pipeline.packing import looking
from pipeline.packing.sources.source import UnreadableFeature
from pipeline.packing.videos import join_features


def _videos(count: int, **bad: object):
    arrays = random_videos(np.random.default_rng(3), {f"v{number:02}": 4 for number in range(count)})
    return join_features([ArraySource("rgb", arrays | bad)], None)[0]


def test_what_cannot_be_packed_is_named():
    wild = np.full((4, 3), 70000, np.float32)
    videos = _videos(6, v02=wild, v04=UnreadableFeature("v04.npy", "it is damaged"))
    for dtype, reasons in (("float16", ["beyond float16", "damaged"]), ("float32", ["damaged"])):
        looked_at, faults = looking.look_at_values(videos, [FeatureConfig("rgb", 3, dtype)])
        assert looked_at == 6 and len(faults) == len(reasons)
        assert all(reason in told for reason, (_, told) in zip(reasons, faults))


@pytest.mark.parametrize("bound, value, expected", [("_VIDEOS", 5, 5), ("_BYTES", 4 * 6 * 10, 10)])
def test_of_many_videos_some_are_read_from_first_to_last(monkeypatch, bound, value, expected):
    monkeypatch.setattr(looking, bound, value)
    videos, read = _videos(40), []
    monkeypatch.setattr(type(videos), "read", lambda self, row: read.append(row) or [np.zeros((4, 3), np.float32)])
    assert looking.look_at_values(videos, [FeatureConfig("rgb", 3, "float16")]) == (expected, [])
    assert (read[0], read[-1], len(set(read))) == (0, 39, expected)


def test_without_videos_nothing_is_read():
    assert looking.look_at_values(_videos(2).take(np.zeros(0, int)), [FeatureConfig("rgb", 3, "float16")]) == (0, [])
