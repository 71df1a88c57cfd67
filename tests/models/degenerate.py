"""Videos that carry nothing, or values of another size: what models are trained on in the tests of degenerate data."""

import dataclasses
from collections.abc import Iterator

import keras
import numpy as np

from pipeline.config import (
    POOLING,
    ClassifierConfig,
    DatasetConfig,
    FeatureConfig,
    ModelConfig,
    SamplingConfig,
    TrainingConfig,
)
from pipeline.models import build_model
from pipeline.training.loop import ready_to_train

SETTINGS = {
    "clusters": (8, 4),
    "groups": (4, 2),
    "heads": (4, 2),
    "hidden": (8, 4),
    "latents": (4, 2),
    "projection": (6, 4),
    "units": (16, 8),
}
"""Small values of settings, taken by the families that have them."""
RGB, AUDIO, CLASSES, FRAMES = 16, 8, 12, 8
SIZES = (1e-40, 1e-20, 1e3, 1e6, 1e15, 1e30, 3e38)

Kinds = Iterator[tuple[str, np.ndarray, int]]


def dataset_of(dtype: str) -> DatasetConfig:
    return DatasetConfig(
        "degenerate", (FeatureConfig("rgb", RGB, dtype), FeatureConfig("audio", AUDIO, dtype)), CLASSES
    )


class Trained:
    """A small model of a family, and its training as `train` does it, from the same start each time."""

    def __init__(self, family: str, dtype: str, precision: str, batch_size: int):
        keras.utils.set_random_seed(1)
        known = {field.name for field in dataclasses.fields(POOLING[family])}
        pooling = POOLING[family](**{name: value for name, value in SETTINGS.items() if name in known})
        dataset = dataset_of(dtype)
        self.model = build_model(ModelConfig(family, pooling, ClassifierConfig(hidden=32)), dataset, precision)
        training = TrainingConfig(batch_size, learning_rate=5e-3, decay="constant", precision=precision)
        self.training = ready_to_train(self.model, dataset, SamplingConfig(frames=FRAMES), training, 1000)
        self._variables = [*self.model.weights, *self.training.optimizer.variables]
        self._start = [keras.ops.convert_to_numpy(variable) for variable in self._variables]

    def restart(self) -> None:
        for variable, value in zip(self._variables, self._start, strict=True):
            variable.assign(value)

    def step(self, frames: np.ndarray, num_frames: int, labels: np.ndarray) -> float:
        """-> the loss."""
        return float(np.asarray(self.training.train_on_batch(_inputs(frames, num_frames), labels)))

    def predict(self, frames: np.ndarray, num_frames: int = FRAMES) -> np.ndarray:
        return np.asarray(self.model.predict_on_batch(_inputs(frames, num_frames)))


def _inputs(frames: np.ndarray, num_frames: int) -> dict[str, np.ndarray]:
    return {"frames": frames, "num_frames": np.full(len(frames), num_frames, np.int32)}


def good(count: int, seed: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Videos [n,T,F] of one or two classes, each frame near a class's centre, and their labels [n,V]."""
    centres = np.random.default_rng(1234).integers(40, 215, (CLASSES, RGB + AUDIO))
    rng = np.random.default_rng(seed)
    frames, labels = np.empty((count, FRAMES, RGB + AUDIO)), np.zeros((count, CLASSES), np.float32)
    for video, truth in zip(frames, labels):
        chosen = rng.choice(CLASSES, rng.integers(1, 3), replace=False)
        truth[chosen] = 1
        video[:] = centres[rng.choice(chosen, FRAMES)] + rng.normal(0, 30, video.shape)
    stored = np.clip(frames, 0, 255).astype(np.uint8)
    return (stored if dtype == "uint8" else (stored / 255 * 4 - 2).astype(np.float32)), labels


def without_content(frames: np.ndarray) -> Kinds:
    """(what, frames, valid frames) of videos that say little or nothing: all of them, or some among good ones."""

    def changed(videos, values):
        copy = frames.copy()
        copy[videos] = np.broadcast_to(values, copy[videos].shape)
        return copy

    everyone, some = slice(None), slice(3)
    highest = 255 if frames.dtype == np.uint8 else 2.0
    for who, videos in (("all", everyone), ("some", some), ("all but some", slice(3, None))):
        yield f"{who} silent", changed(videos, 0), FRAMES
        yield f"{who} at the highest value", changed(videos, highest), FRAMES
        yield f"{who} constant", changed(videos, frames[videos, :1, :1]), FRAMES
        yield f"{who} of equal frames", changed(videos, frames[videos, :1]), FRAMES
        yield f"{who} the same frame", changed(videos, frames[:1, :1]), FRAMES
    yield "all the same video", changed(everyone, frames[:1]), FRAMES
    yield "all one constant", changed(everyone, frames[0, 0, 0]), FRAMES
    yield "single frames", frames, 1
    yield "single frames, the same", changed(everyone, frames[:1, :1]), 1
    yield "no frames", frames, 0
    for what, values in (("rgb", slice(RGB)), ("audio", slice(RGB, None)), ("a column", 3)):
        copy = frames.copy()
        copy[:, :, values] = 0
        yield f"{what} silent", copy, FRAMES


def of_another_size(frames: np.ndarray) -> Kinds:
    """(what, frames, valid frames) of floats that are extreme, but finite: all of them, or some among good ones."""
    signs = np.random.default_rng(2).choice([-1, 1], frames.shape).astype(np.float32)
    for size in map(np.float32, SIZES):
        yield f"all at {size:.1g}", np.full_like(frames, size), FRAMES
        yield f"all at +-{size:.1g}", signs * size, FRAMES
        for what, place in (("a video", np.s_[0]), ("a frame", np.s_[0, 2]), ("a value", np.s_[0, 2, 3])):
            copy = frames.copy()
            copy[place] = signs[place] * size
            yield f"{what} at +-{size:.1g}", copy, FRAMES
    for size in (1e3, 1e6):
        yield f"a small spread around {size:.1g}", size + frames / 1000, FRAMES
