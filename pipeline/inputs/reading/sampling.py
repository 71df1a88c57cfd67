"""Choose which frames of a video to read, as indices of its rows, before anything is copied."""

from collections.abc import Iterable, Sequence

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
    all              every row, and the rest of the batch's rows are padding; of a video with more than `length` rows
                     those of uniform
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
    spread = places * available // length  # B,T
    if method == "uniform":
        return spread.astype(np.int32), counts
    if method == "all":
        chosen = np.where(available > length, spread, places)
        return chosen.astype(np.int32), np.minimum(available[:, 0], length).astype(np.int32)
    if rng is None:
        raise ValueError(f"sampling {method} is random and needs a generator; evaluation takes uniform or all")
    if method == "random_frames":
        return np.sort(rng.integers(0, available, shape).astype(np.int32), axis=1), counts
    if method == "random_sequence":
        starts = rng.integers(0, np.maximum(available - length, 0) + 1)  # B,1
        return (starts + places).astype(np.int32), np.minimum(available[:, 0], length).astype(np.int32)
    raise ValueError(f"unknown sampling method {method!r}")


def distinct_samplings(samplings: Iterable[SamplingConfig]) -> list[SamplingConfig]:
    """Return one sampling for each choice of frames that an evaluation asks for; `all`, which is padded, comes last."""
    found = {frames_chosen(sampling): sampling for sampling in samplings}
    return [found[key] for key in sorted(found, reverse=True)]


def choose_for_all(
    samplings: Sequence[SamplingConfig], num_frames: np.ndarray, dataset: DatasetConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the rows that several evaluations ask for, of `distinct_samplings`, one evaluation's after the other's.

    Returns:
        indices and counts as of `choose_frames`; T is the sum of the samplings' lengths.
    """
    chosen = [
        choose_frames(each.evaluation, num_frames, sampled_length(each.evaluation, each, dataset)) for each in samplings
    ]
    indices, counts = zip(*chosen)
    return np.concatenate(indices, axis=1), np.stack(counts).sum(axis=0, dtype=np.int32)


def split_samples(
    inputs: dict[str, np.ndarray], samplings: Sequence[SamplingConfig], dataset: DatasetConfig
) -> list[dict[str, np.ndarray]]:
    """Return the inputs of each of the evaluations, from frames [B,T,F] and counts that `choose_for_all` chose."""
    if len(samplings) == 1:
        return [inputs]
    found, start = [], 0
    for sampling in samplings:
        stop = start + sampled_length(sampling.evaluation, sampling, dataset)
        counts = np.minimum(inputs["num_frames"] - start, stop - start)
        found.append({"frames": inputs["frames"][:, start:stop], "num_frames": counts})
        start = stop
    return found


def frames_chosen(sampling: SamplingConfig) -> tuple[str, int]:
    """Return a key that is equal for samplings that choose the same frames."""
    return sampling.evaluation, sampling.frames if sampling.evaluation == "uniform" else 0
