"""Read videos in order, in batches of frames for a model."""

from collections.abc import Iterator

import numpy as np

from pipeline.config import DatasetConfig, SamplingConfig
from pipeline.inputs.reading.reader import FrameReader
from pipeline.inputs.reading.sampling import choose_frames, sampled_length

EXPECTED = 512
"""The system is told of this many videos at a time, one such window ahead, so that it can read them in disk order."""
Inputs = dict[str, np.ndarray]
"""{"frames": [B,T,F], "num_frames": int32 [B]}"""


def evaluation_batches(
    reader: FrameReader, rows: np.ndarray, sampling: SamplingConfig, batch_size: int
) -> Iterator[tuple[int, Inputs]]:
    """Yield the videos at `rows` in order, as pairs (count, inputs); the first `count` videos of a batch are valid.

    Every batch has `batch_size` videos, so that a model is compiled once: the last is padded with its first video.
    """
    length = sampled_length(sampling.evaluation, sampling, reader.index.dataset)
    window = window_of(batch_size) * batch_size
    for start in range(0, len(rows), batch_size):
        if start % window == 0:
            reader.expect(rows[start + window if start else 0 : start + 2 * window])
        videos = rows[start : start + batch_size]
        count = len(videos)
        videos = np.append(videos, np.repeat(videos[:1], batch_size - count))
        chosen, num_frames = choose_frames(sampling.evaluation, reader.index.num_frames[videos], length)
        yield count, {"frames": reader.read(videos, chosen, num_frames), "num_frames": num_frames}


def resample_rows(inputs: Inputs, sampling: SamplingConfig, dataset: DatasetConfig) -> Inputs:
    """Return the inputs that `evaluation_batches` gives with `sampling`, from a batch with all frames of each video."""
    frames, available = inputs["frames"], inputs["num_frames"]  # B,T,F and B
    length = sampled_length(sampling.evaluation, sampling, dataset)
    if sampling.evaluation == "all" or length == frames.shape[1] == 1:
        return inputs
    chosen, num_frames = choose_frames(sampling.evaluation, available, length)  # B,length and B
    # This index copies whole rows; take_along_axis would look up each value.
    return {"frames": frames[np.arange(len(frames))[:, None], chosen], "num_frames": num_frames}


def window_of(batch_size: int) -> int:
    """Return how many batches EXPECTED videos make, at least 1."""
    return max(EXPECTED // batch_size, 1)
