"""Batches in a video's own order: which frames each model gets, and what a batch holds."""

from collections.abc import Iterator

import numpy as np

from pipeline.config import DatasetConfig, SamplingConfig
from pipeline.inputs.reading.reader import FrameReader
from pipeline.inputs.reading.sampling import choose_frames, sampled_length

EXPECTED = 512
"""Videos that the system is told of at a time, one time ahead; it brings them in from a disk in the disk's order."""
Inputs = dict[str, np.ndarray]
"""{"frames": [B,T,F], "num_frames": int32 [B]}"""


def evaluation_batches(
    reader: FrameReader, rows: np.ndarray, sampling: SamplingConfig, batch_size: int
) -> Iterator[tuple[int, Inputs]]:
    """The videos at `rows` in their order: (how many of the batch count, inputs).

    Every batch has `batch_size` videos, so that a model is compiled once; the last is filled up with its first video.
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
    """What `evaluation_batches` gives under `sampling`, from a batch that holds all frames of each video."""
    frames, available = inputs["frames"], inputs["num_frames"]  # B,T,F and B
    length = sampled_length(sampling.evaluation, sampling, dataset)
    if sampling.evaluation == "all" or length == frames.shape[1] == 1:
        return inputs
    chosen, num_frames = choose_frames(sampling.evaluation, available, length)  # B,length and B
    # By rows, whole: take_along_axis would look up each value.
    return {"frames": frames[np.arange(len(frames))[:, None], chosen], "num_frames": num_frames}


def window_of(batch_size: int) -> int:
    """Batches in EXPECTED videos."""
    return max(EXPECTED // batch_size, 1)
