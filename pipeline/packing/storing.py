"""Choose how the values of features are stored: as float16, float32 or bytes, over which range and at what cost."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.config import FeatureConfig
from pipeline.config.errors import StageError
from pipeline.inputs.records.quantized import dequantize, quantize
from pipeline.packing.settings import Floats
from pipeline.packing.sources.source import UnreadableFeature
from pipeline.packing.videos import Videos
from pipeline.runtime.progress import progress_bar

QUANTILES = (0.0005, 0.9995)
"""Values beyond these quantiles are clipped: a single wild value would make all steps coarse."""
_BEYOND_HALF = 65520
"""The least number that is rounded to infinity as float16."""
_MEASURED, _FRAMES = 2000, 64
"""So many videos, and frames of each, are looked at to measure a range."""


class UnstorableValues(UnreadableFeature):
    """Values that cannot be stored as they are to be."""


@dataclass(frozen=True)
class Quantization:
    """The range that the bytes of a feature span, and what they cost."""

    minimum: float
    maximum: float
    decibels: float
    """Signal-to-noise ratio: the variance of the values over the mean square of what quantizing changes."""
    clipped: float
    """Share of the values that are beyond the range."""


def stored_features(
    videos: Videos, floats: Floats, quantizations: Sequence[Quantization | None]
) -> list[FeatureConfig]:
    """Return how each feature is stored; bytes stay bytes.

    Args:
        videos: with the features.
        floats: the dtype of those that are not quantized.
        quantizations: of each feature, as `measure_ranges` returns them; empty if none is to be quantized.

    Raises StageError if the features would differ in dtype, since all of them are read into one array.
    """
    found = []
    for number, source in enumerate(videos.sources):
        each = quantizations[number] if quantizations else None
        if each is not None:
            found.append(FeatureConfig(source.name, source.size, "uint8", minimum=each.minimum, maximum=each.maximum))
        else:
            found.append(FeatureConfig(source.name, source.size, "uint8" if source.dtype == np.uint8 else floats))
    if len({feature.dtype for feature in found}) > 1:
        kinds = ", ".join(f"{source.name} is {source.dtype}" for source in videos.sources)
        raise StageError(
            f"{kinds}: all features of a dataset are stored alike. --quantize stores all of them as bytes; or convert "
            "the bytes to floats before"
        )
    return found


def measure_ranges(videos: Videos, rng: np.random.Generator, bounds: Sequence[float] = ()) -> list[Quantization | None]:
    """Measure the range of each feature on some videos, and what it costs to store their values as bytes.

    With `bounds`, these are the range of all features. A feature of bytes has no range to measure, and None in its
    place. Videos that cannot be read are passed over.

    Raises StageError: a feature is constant, or all features are bytes.
    """
    if all(source.dtype == np.uint8 for source in videos.sources):
        names = ", ".join(source.name for source in videos.sources)
        raise StageError(f"--quantize has nothing to do: {names} hold bytes already; leave it out")
    rows = np.sort(rng.permutation(len(videos.ids))[:_MEASURED])
    held: list[list[np.ndarray]] = [[] for _ in videos.sources]
    for row in progress_bar(rows.tolist(), desc="measure ranges", unit=" videos"):
        try:
            streams = videos.read(row)
        except UnreadableFeature:  # it is told when it is packed
            continue
        for frames, kept in zip(streams, held):
            chosen = rng.permutation(len(frames))[:_FRAMES]
            kept.append(np.asarray(frames[np.sort(chosen)], np.float32))
    return [
        None
        if source.dtype == np.uint8
        else measure_range(np.concatenate([np.zeros(0, np.float32), *map(np.ravel, kept)]), source.name, bounds)
        for kept, source in zip(held, videos.sources)
    ]


def measure_range(values: np.ndarray, name: str, bounds: Sequence[float] = ()) -> Quantization:
    """Return the range of values, float32 of any shape, or `bounds`, and what it costs to store them as bytes.

    Raises StageError if they are all equal, or not all finite.
    """
    finite = values[np.isfinite(values)]
    minimum, maximum = (float(each) for each in np.quantile(finite, QUANTILES)) if finite.size else (0.0, 0.0)
    if minimum < maximum and bounds:
        minimum, maximum = bounds
    if not minimum < maximum:
        raise StageError(f"feature {name} has no range to quantize: its values are {minimum:g}; leave out --quantize")
    error = dequantize(quantize(finite, minimum, maximum), minimum, maximum) - finite
    noise = float(np.mean(np.square(error, dtype=np.float64)))
    signal = float(np.var(finite, dtype=np.float64))
    clipped = float(np.mean((finite < minimum) | (finite > maximum)))
    return Quantization(minimum, maximum, 10 * float(np.log10(signal / noise)) if noise else np.inf, clipped)


def store(values: np.ndarray, feature: FeatureConfig, where: str) -> np.ndarray:
    """Return values [n,F] as they are stored.

    Raises UnstorableValues: one is not finite, or beyond what the dtype can hold.
    """
    if feature.dtype == "uint8" and values.dtype == np.uint8:
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        stored = values.astype("<f2" if feature.dtype == "float16" else "<f4", copy=False)
    if not _all_finite(values if values.dtype == np.float32 else stored, stored.dtype):
        raise UnstorableValues(where, _why_not(values, feature))
    return quantize(stored, feature.minimum, feature.maximum) if feature.dtype == "uint8" else stored


def _all_finite(values: np.ndarray, stored: np.dtype) -> bool:
    """Return whether values, float32 or as they are stored, are finite when they are stored."""
    if values.dtype.itemsize == 2:  # NumPy would convert each of them to compare it
        return int((values.view("<u2") & 0x7FFF).max()) < 0x7C00
    beyond = _BEYOND_HALF if stored.itemsize == 2 else np.inf
    return bool(values.max() < beyond and values.min() > -beyond)  # what is not a number is not less


def _why_not(values: np.ndarray, feature: FeatureConfig) -> str:
    """Return what is wrong with values that are not all finite as they are to be stored."""
    bad = np.argwhere(~np.isfinite(values.astype(np.float64)))
    if len(bad):
        frame, place = bad[0].tolist()
        return f"feature {feature.name}, frame {frame}, value {place} is {values[frame, place]}; extract it again"
    largest = np.abs(values.astype(np.float64)).max()
    wider = "pack all videos with --dtype float32, or " if feature.dtype == "float16" else ""
    kind = "float16" if feature.dtype == "float16" else "float32"
    return f"feature {feature.name} reaches {largest:.3g}, beyond {kind}: {wider}extract it again"
