"""Read videos in order, in batches of frames for a model."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.config import DatasetConfig, SamplingConfig
from pipeline.inputs.reading.sampling import choose_for_all, sampled_length

if TYPE_CHECKING:  # its compiled loops take a second to import
    from pipeline.inputs.reading.reader import FrameReader

EXPECTED = 512
"""The system is told of this many videos at a time, one such window ahead, so that it can read them in disk order."""
Inputs = dict[str, np.ndarray]
"""{"frames": [B,T,F], "num_frames": int32 [B]}"""


def evaluation_batches(
    reader: "FrameReader", rows: np.ndarray, sampling: SamplingConfig, batch_size: int
) -> Iterator[tuple[int, Inputs]]:
    """Yield the videos at `rows` in order, as pairs (count, inputs); the first `count` videos of a batch are valid.

    Every batch has `batch_size` videos, so that a model is compiled once: the last is padded with its first video.
    """
    return batches_for_all(reader, rows, [sampling], batch_size)


def batches_for_all(
    reader: "FrameReader", rows: np.ndarray, samplings: Sequence[SamplingConfig], batch_size: int
) -> Iterator[tuple[int, Inputs]]:
    """Yield batches as `evaluation_batches` does, with the frames of several evaluations: see `choose_for_all`."""
    window = window_of(batch_size) * batch_size
    for start in range(0, len(rows), batch_size):
        if start % window == 0:
            reader.expect(rows[start + window if start else 0 : start + 2 * window])
        videos = rows[start : start + batch_size]
        count = len(videos)
        videos = np.append(videos, np.repeat(videos[:1], batch_size - count))
        chosen, num_frames = choose_for_all(samplings, reader.index.num_frames[videos], reader.index.dataset)
        yield count, {"frames": reader.read(videos, chosen, num_frames), "num_frames": num_frames}


def sample_video(frames: np.ndarray, samplings: Sequence[SamplingConfig], dataset: DatasetConfig) -> np.ndarray:
    """Return the rows of a video [n,F] that are read for these samplings, [t,F]: the same as through an index."""
    (chosen,), (count,) = choose_for_all(samplings, np.array([len(frames)]), dataset)
    return frames[chosen[:count]]


def batch_videos(
    videos: list[np.ndarray], dataset: DatasetConfig, samplings: Sequence[SamplingConfig], batch_size: int
) -> Iterator[tuple[int, Inputs]]:
    """Yield what `sample_video` returned in batches like those of `batches_for_all`; the last one may be smaller."""
    length = sum(sampled_length(each.evaluation, each, dataset) for each in samplings)
    for start in range(0, len(videos), batch_size):
        chosen = videos[start : start + batch_size]
        frames = np.zeros((len(chosen), length, dataset.width), dataset.dtype)  # B,T,F
        for row, video in zip(frames, chosen):
            row[: len(video)] = video
        yield len(chosen), {"frames": frames, "num_frames": np.array([len(video) for video in chosen], np.int32)}


def window_of(batch_size: int) -> int:
    """Return how many batches EXPECTED videos make, at least 1."""
    return max(EXPECTED // batch_size, 1)
