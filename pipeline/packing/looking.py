"""Look at the values of videos before they are packed: what cannot be read, is not finite, or fits no float16."""

from collections.abc import Sequence

import numpy as np

from pipeline.config import FeatureConfig
from pipeline.packing.sources.source import UnreadableFeature
from pipeline.packing.storing import store
from pipeline.packing.videos import Videos
from pipeline.runtime.progress import progress_bar

_VIDEOS, _BYTES = 2000, 512 << 20
"""So many videos are looked at, and so many bytes of them as they are stored: some seconds."""


def look_at_values(videos: Videos, features: Sequence[FeatureConfig]) -> tuple[int, list[tuple[str, str]]]:
    """Read videos, evenly spaced where they are too many, as if they were packed.

    Args:
        videos: with the features.
        features: how each is stored.

    Returns:
        How many were read; and where those lie that cannot be packed, and why.
    """
    frame_bytes = sum(feature.size * np.dtype(feature.dtype).itemsize for feature in features)
    share = _BYTES / max(int(videos.lengths.sum()) * frame_bytes, 1)
    count = len(videos.ids)
    looked_at = min(count, _VIDEOS, max(1, int(share * count)))
    rows = np.linspace(0, count - 1, looked_at).astype(np.int64) if count else np.zeros(0, np.int64)
    faults = []
    for row in progress_bar(rows.tolist(), desc="look at values", unit=" videos"):
        try:
            for stream, feature in zip(videos.read(row), features):
                store(stream, feature, videos.where(row))
        except UnreadableFeature as error:
            faults.append((error.where, str(error)))
    return len(rows), faults
