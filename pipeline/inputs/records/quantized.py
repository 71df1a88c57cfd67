"""Quantize floats to bytes over a range, and back: a byte stands for the center of one of 256 bins."""

import numpy as np

from pipeline.config import DatasetConfig, byte_scale


def quantize(values: np.ndarray, minimum: float, maximum: float) -> np.ndarray:
    """Return floats as bytes, uint8 of the same shape; values beyond the range are clipped, NaN gives any byte."""
    _, shift = byte_scale(minimum, maximum)
    wide = values.astype(np.float32, copy=False) if values.dtype == np.float16 else values
    return np.rint((wide.clip(minimum, maximum) - shift) * (255 / (maximum - minimum))).clip(0, 255).astype(np.uint8)


def dequantize(values: np.ndarray, minimum: float, maximum: float) -> np.ndarray:
    """Return bytes as the float32 values that they stand for, of the same shape."""
    step, shift = byte_scale(minimum, maximum)
    return values.astype(np.float32) * np.float32(step) + np.float32(shift)


def as_floats(frames: np.ndarray, dataset: DatasetConfig) -> np.ndarray:
    """Return stored frames [...,F], with the features side by side, as float32 values of the same shape."""
    if not dataset.quantized:
        return frames.astype(np.float32)
    ends = np.cumsum([feature.size for feature in dataset.features])[:-1]
    parts = zip(np.split(frames, ends, axis=-1), dataset.features)
    return np.concatenate([dequantize(part, feature.minimum, feature.maximum) for part, feature in parts], axis=-1)
