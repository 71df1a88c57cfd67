"""What several tests use: stages as a user runs them, a preset shrunk to seconds, shards of known content."""

import importlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.inputs import tfrecord, writing

ROOT = Path(__file__).parent.parent

# ------------------------------------------------------------------------------------------------------------- stages


def stage_command(name: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"pipeline.{name}", *map(str, arguments)]


def stage_environment(folder: Path) -> dict[str, str]:
    places = ("data", "runs", "submissions", "reports")
    return {**os.environ, **{f"PIPELINE_{place.upper()}": str(folder / place) for place in places}}


def run_here(name: str, folder: Path, *arguments: object, preset: str = "small.py") -> None:
    """A stage in this process, which has TensorFlow already, with a file in `folder` as its preset."""
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in stage_environment(folder).items():
            patch.setenv(variable, value)
        patch.setattr(sys, "argv", [name, "--preset", str(folder / preset), *map(str, arguments)])
        importlib.import_module(f"pipeline.{name}").main()


TINY = '''"""The demo, shrunk to seconds."""

import dataclasses

from pipeline.config import ClassifierConfig, FeatureConfig, InferenceConfig, SamplingConfig, SynthesisConfig
from pipeline.presets import demo

MODELS = ("average", "netvlad")


def experiment(model):
    whole = demo.experiment(model)
    pooling = whole.model.pooling
    if hasattr(pooling, "clusters"):
        pooling = dataclasses.replace(pooling, clusters=(4, 2))
    return dataclasses.replace(
        whole,
        dataset=dataclasses.replace(
            whole.dataset, name="tiny", num_classes=24, features=(FeatureConfig("rgb", 32), FeatureConfig("audio", 8))
        ),
        synthesis=SynthesisConfig(train_videos=160, test_videos=40, videos_per_shard=20, min_frames=4, max_frames=12),
        model=dataclasses.replace(
            whole.model, pooling=pooling, classifier=ClassifierConfig(hidden=16, dropout=0.2)
        ),
        sampling=SamplingConfig(train="random_frames", frames=6),
        training=dataclasses.replace(
            whole.training, batch_size=16, epochs=3, mixup=0.4, warmup_examples=0, checkpoint_steps=4, ema_half_life=4
        ),
        inference=InferenceConfig(batch_size=8, top_k=24, videos_per_part=16),
    )
'''

# ----------------------------------------------------------------------------------------------------- small shards

SMALL = DatasetConfig(
    "small", (FeatureConfig("rgb", 6), FeatureConfig("audio", 2)), num_classes=9, max_frames=12, holdout_percent=0
)


def frames_of(video: int) -> np.ndarray:
    """Video n has 1 + 3n mod 17 frames, each value telling video, frame and column: uint8 [n,8]."""
    count = 1 + 3 * video % 17
    return (video * 31 + np.arange(count)[:, None] * 7 + np.arange(8)).astype(np.uint8)


def labels_of(video: int) -> list[int]:
    return sorted({video % 9, video * 5 % 9})


def write_shard(path: Path, videos: range, shift: int = 0) -> None:
    """Write the videos; `shift` is added to every value, so that the same ids have other frames."""
    payloads = [
        writing.sequence_example(
            {"id": f"v{video:03d}", "labels": labels_of(video)},
            {"rgb": frames_of(video)[:, :6] + np.uint8(shift), "audio": frames_of(video)[:, 6:] + np.uint8(shift)},
        )
        for video in videos
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        tfrecord.write(file, payloads)
