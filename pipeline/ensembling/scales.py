"""The scales that models' scores are combined on: probabilities, logits, ranks."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Scale = Literal["probabilities", "logits", "ranks"]
_NEAR_ONE = 1 - 2.0**-24  # the largest float32 below 1
QUANTILES = 257
"""Numbers that tell a model's distribution of scores."""
_LEVELS = 1 - (1 - np.linspace(0, 1, QUANTILES)) ** 3  # dense at the top, where the 20 best of a video are
_PLACES = np.r_[0, _LEVELS * (1 - 2.0**-12) + 2.0**-13, 1]  # room at both ends for scores beyond those seen


def to_values(scores: ArrayLike, scale: Scale, quantiles: ArrayLike = ()) -> NDArray[np.float32]:
    """One model's scores in [0, 1], float [N,K], on the scale where they are averaged: ascending with the scores.

    Logits are bounded by those of 2^-24 and 1 - 2^-24, what float32 tells from 0 and 1 near its ends, so that no model
    has a veto. A rank is the score's place, from 0 to 1, in the distribution that `quantiles_of` took.
    """
    scores = np.asarray(scores)
    if scale == "probabilities":
        return scores.astype(np.float32, copy=False)
    scores = scores.astype(np.float64)
    if scale == "logits":
        bounded = np.clip(scores, 1 - _NEAR_ONE, _NEAR_ONE)
        return (np.log(bounded) - np.log1p(-bounded)).astype(np.float32)
    return np.interp(scores, np.r_[0.0, quantiles, 1.0], _PLACES).astype(np.float32)


def to_scores(values: NDArray[np.float32], scale: Scale) -> NDArray[np.float32]:
    """Averaged values back to scores in [0, 1], in the same order."""
    if scale == "logits":
        return (1 / (1 + np.exp(-values.astype(np.float64)))).astype(np.float32)
    return values


def quantiles_of(scores: ArrayLike) -> tuple[float, ...]:
    """The distribution of a model's kept scores: `QUANTILES` of them, denser toward the highest."""
    return tuple(np.quantile(np.asarray(scores, np.float64), _LEVELS).tolist())
