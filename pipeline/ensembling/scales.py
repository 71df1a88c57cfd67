"""The scales on which models' scores can be combined: probabilities, logits and ranks."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Scale = Literal["probabilities", "logits", "ranks"]
_NEAR_ONE = 1 - 2.0**-24  # the largest float32 below 1
QUANTILES = 257
"""How many numbers describe the distribution of a model's scores."""
_LEVELS = 1 - (1 - np.linspace(0, 1, QUANTILES)) ** 3  # dense at the top, where the 20 best of a video are
_PLACES = np.r_[0, _LEVELS * (1 - 2.0**-12) + 2.0**-13, 1]  # both ends leave room for scores beyond those seen


def to_values(scores: ArrayLike, scale: Scale, quantiles: ArrayLike = ()) -> NDArray[np.float32]:
    """Map one model's scores in [0, 1], float [N,K], to the scale where they are averaged; the map is increasing.

    Logits are bounded by those of 2^-24 and 1 - 2^-24, the numbers that float32 can just tell from 0 and 1, so that no
    model has a veto. A rank is the score's place, from 0 to 1, in the distribution that `quantiles_of` returned.
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
    """Map averaged values back to scores in [0, 1]; the order stays the same."""
    if scale == "logits":
        return (1 / (1 + np.exp(-values.astype(np.float64)))).astype(np.float32)
    return values


def quantiles_of(scores: ArrayLike) -> tuple[float, ...]:
    """Return `QUANTILES` quantiles of the scores that a model kept, denser toward the highest scores."""
    return tuple(np.quantile(np.asarray(scores, np.float64), _LEVELS).tolist())
