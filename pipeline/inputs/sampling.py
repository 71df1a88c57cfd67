"""Which frames of a video are read: indices into its rows, chosen before anything is copied."""

import numpy as np

from pipeline.config import DatasetConfig, SamplingConfig


def sampled_length(method: str, sampling: SamplingConfig, dataset: DatasetConfig) -> int:
    """Rows T of a batch under a sampling method: fixed, so that a model is compiled once."""
    if dataset.level == "video":
        return 1
    return dataset.max_frames if method == "all" else sampling.frames


def frame_indices(method: str, num_frames: int, length: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """Rows to read of a video with `num_frames` (>= 1) rows, at most `length` of them, ascending, int64.

    uniform          floor(k n / length) for k < length: the paper's; short videos repeat frames
    all              every row; the rest of the batch's rows are padding
    random_frames    `length` rows drawn with replacement
    random_sequence  `length` consecutive rows from a random start; a shorter video whole, then padding
    """
    if method == "uniform":
        return np.arange(length) * num_frames // length
    if method == "all":
        return np.arange(min(num_frames, length))
    if rng is None:
        raise ValueError(f"sampling {method} is random and needs a generator; evaluation takes uniform or all")
    if method == "random_frames":
        return np.sort(rng.integers(0, num_frames, length))
    if method == "random_sequence":
        start = int(rng.integers(0, max(num_frames - length, 0) + 1))
        return np.arange(start, min(start + length, num_frames))
    raise ValueError(f"unknown sampling method {method!r}")
