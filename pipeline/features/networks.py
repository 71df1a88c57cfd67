"""A backbone that is ready to use: from pictures or windows of sound as they are decoded to features."""

from pathlib import Path
from typing import Protocol

import numpy as np

from pipeline.config.errors import StageError
from pipeline.features.backbone import Backbone
from pipeline.features.log_mel import log_mel
from pipeline.features.onnx_backbone import OnnxBackbone
from pipeline.features.pictures import normalized

KERAS = "keras:"
_ROUNDING = 1e-4
"""Share of the largest value by which the place in a batch may change a feature."""


class Computes(Protocol):
    """What runs a network."""

    batch: int
    at_once: int
    device: str

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Return the features, float32 [n,F], of n inputs, at most `batch`."""


class Network:
    """A backbone with its weights.

    Attributes:
        backbone: what it is.
        batch: inputs at a time.
        at_once: batches that are computed at a time.
        size: F, values of its feature.
        steady: whether the feature of an input has the same bits in every place of a batch, as far as a trial shows.
            Where inputs of a batch change each other's features by more than rounding, each is computed alone.
    """

    def __init__(self, backbone: Backbone, path: Path | None, threads: int):
        self.backbone = backbone
        if backbone.file.startswith(KERAS):
            from pipeline.features.keras_backbone import KerasBackbone

            self._compute: Computes = KerasBackbone(backbone)
        else:
            assert path is not None
            self._compute = OnnxBackbone(path, backbone, threads)
        self.batch, self.at_once, self.device = self._compute.batch, self._compute.at_once, self._compute.device
        self._pca = _read_pca(path, backbone) if path and backbone.pca else None
        trial = self._trial()
        first, other = self(trial), np.roll(self(np.roll(trial, 1, axis=0)), -1, axis=0)
        self.size = first.shape[1]
        self.steady = bool(np.array_equal(first, other))
        if np.abs(first[:1] - self(trial[:1])).max() > _ROUNDING * np.abs(first).max():
            self.batch = self._compute.batch = 1
            self.steady = True

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Return the features, float32 [n,F], of at most `batch` inputs.

        Args:
            inputs: cropped pictures, uint8 [n,h,w,3], or windows of sound between -1 and 1, float32 [n,S].
        """
        backbone = self.backbone
        if backbone.task == "frames":
            prepared = normalized(inputs, backbone)
        elif backbone.front == "log_mel":
            prepared = log_mel(inputs)
        else:
            prepared = inputs * np.float32(backbone.scale) if backbone.scale != 1 else inputs
        values = self._compute(prepared)
        if self._pca is not None:
            mean, matrix = self._pca
            values = (values - mean) @ matrix
        return values

    def trial(self) -> np.ndarray:
        """Return the features of a batch of made-up inputs, float32 [batch,F]."""
        return self(self._trial())

    def _trial(self) -> np.ndarray:
        backbone, rng = self.backbone, np.random.default_rng(0)
        if backbone.task == "frames":
            return rng.integers(0, 256, (self.batch, backbone.height, backbone.width, 3), np.uint8)
        loudness = np.logspace(-4, -0.7, self.batch)[:, None]  # what is relative to the loudest shows
        return (rng.normal(0, 1, (self.batch, backbone.samples)) * loudness).astype(np.float32)


def _read_pca(path: Path, backbone: Backbone) -> tuple[np.ndarray, np.ndarray]:
    place = path.with_name(backbone.pca)
    try:
        with np.load(place, allow_pickle=False) as arrays:
            mean, matrix = (np.asarray(arrays[name], np.float32) for name in ("mean", "matrix"))
    except (OSError, ValueError, KeyError) as error:
        raise StageError(f"{place} must hold the arrays mean [F] and matrix [F,D] of a PCA: {error}") from error
    if mean.ndim != 1 or matrix.ndim != 2 or len(mean) != len(matrix):
        raise StageError(f"{place}: mean {list(mean.shape)} and matrix {list(matrix.shape)} must be [F] and [F,D]")
    return mean, matrix
