"""Choose which frames of a video to read, as indices of its rows, before anything is copied."""

import numpy as np

from pipeline.config import DatasetConfig, SamplingConfig


def sampled_length(method: str, sampling: SamplingConfig, dataset: DatasetConfig) -> int:
    """Return the number of rows T of a batch for a sampling method; it is fixed, so that a model is compiled once."""
    if dataset.level == "video":
        return 1
    return dataset.max_frames if method == "all" else sampling.frames


def choose_frames(
    method: str, num_frames: np.ndarray, length: int, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the rows to read of B videos that have `num_frames`, int [B], rows each (>= 1).

    uniform          rows floor(k n / length) for k < length, as in the paper; short videos repeat frames
    all              every row; the rest of the batch's rows are padding
    random_frames    `length` rows drawn with replacement
    random_sequence  `length` consecutive rows from a random start; a shorter video is taken whole, then padded

    Returns:
        indices, int32 [B,T] with T = length; and counts, int32 [B]: the first `counts` indices of a video are valid,
        in ascending order.
    """
    available = np.asarray(num_frames, np.int64)[:, None]  # B,1
    shape = (len(available), length)
    places = np.arange(length)  # T
    counts = np.full(len(available), length, np.int32)
    if method == "uniform":
        return (places * available // length).astype(np.int32), counts
    if method == "all":
        return np.broadcast_to(places.astype(np.int32), shape), np.minimum(available[:, 0], length).astype(np.int32)
    if rng is None:
        raise ValueError(f"sampling {method} is random and needs a generator; evaluation takes uniform or all")
    if method == "random_frames":
        return np.sort(rng.integers(0, available, shape).astype(np.int32), axis=1), counts
    if method == "random_sequence":
        starts = rng.integers(0, np.maximum(available - length, 0) + 1)  # B,1
        return (starts + places).astype(np.int32), np.minimum(available[:, 0], length).astype(np.int32)
    raise ValueError(f"unknown sampling method {method!r}")
