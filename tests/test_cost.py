"""Costs of models against the formulas of their layers."""

import numpy as np
import pytest

from pipeline.commandline import load_experiment
from pipeline.config import (
    POOLING,
    ClassifierConfig,
    DatasetConfig,
    Experiment,
    FeatureConfig,
    ModelConfig,
    NetVLADConfig,
    PoolingConfig,
    RecurrentConfig,
    SamplingConfig,
    SecondOrderConfig,
)
from pipeline.cost import of_experiment
from pipeline.models import build_model

DATASET = DatasetConfig("c", (FeatureConfig("rgb", 6), FeatureConfig("audio", 4)), 5, max_frames=12)
HIDDEN, CLASSES, FRAMES = 16, 5, 7


def experiment(family: str, pooling: PoolingConfig, sampling: SamplingConfig | None = None) -> Experiment:
    model = ModelConfig(family, pooling, ClassifierConfig(hidden=HIDDEN))
    return Experiment(DATASET, model, sampling or SamplingConfig(frames=FRAMES))


def around(descriptor: int, frames_scaled: bool) -> tuple[int, int]:
    """Parameters and FLOPs of all but the pooling layers."""
    weights = (descriptor * HIDDEN, HIDDEN * HIDDEN, 5 * HIDDEN * CLASSES)  # dense, gating, two experts and three gates
    norms = (6 + 4) * frames_scaled + 2 * HIDDEN + 2 * HIDDEN
    return sum(weights) + norms + 2 * CLASSES, 2 * sum(weights)


def test_netvlad():
    cost = of_experiment(experiment("netvlad", NetVLADConfig((3, 2))))
    centres = 3 * 6 + 2 * 4
    parameters, flops = around(descriptor=centres, frames_scaled=True)
    assert cost.pooling_parameters == 2 * centres + 2 * (3 + 2)
    assert cost.parameters == parameters + cost.pooling_parameters
    # Each frame's assignments, and the sums over the frames.
    assert cost.flops == flops + 2 * FRAMES * centres + 2 * FRAMES * centres


def test_recurrent_reads_every_frame_in_both_directions():
    cost = of_experiment(experiment("recurrent", RecurrentConfig("lstm", (3, 2))))
    parameters, flops = around(descriptor=2 * (3 + 2), frames_scaled=False)
    assert cost.pooling_parameters == 2 * 4 * (3 * (6 + 3 + 1) + 2 * (4 + 2 + 1))
    assert cost.parameters == parameters + cost.pooling_parameters
    assert cost.flops == flops + FRAMES * 2 * 2 * 4 * (3 * (6 + 3) + 2 * (4 + 2))


def test_work_that_is_done_once_a_batch_is_not_a_videos():
    """Whitening: the inverse root is the same for all videos of a batch."""
    plain = of_experiment(experiment("second_order", SecondOrderConfig((3,), (4,), second_whitening="none")))
    whitened = of_experiment(experiment("second_order", SecondOrderConfig((3,), (4,))))
    # For each feature the sums of the second branch's unit vectors, and U S U^T for each cluster.
    assert whitened.flops - plain.flops == 2 * (2 * FRAMES * 3 * 4 + 2 * 3 * 2 * 4**3)


def test_frames_are_those_of_the_sampling():
    cost = of_experiment(experiment("average", POOLING["average"](), SamplingConfig("random_frames", "all", FRAMES)))
    assert (cost.frames, cost.training_frames) == (12, FRAMES)
    parameters, flops = around(descriptor=10, frames_scaled=False)
    assert (cost.parameters, cost.pooling_parameters) == (parameters, 0)
    assert cost.flops == flops + 2 * 12 * 10


def test_memory_grows_with_the_frames():
    def activations(frames: int) -> int:
        pooling = NetVLADConfig((3, 2))
        return of_experiment(experiment("netvlad", pooling, SamplingConfig(frames=frames))).activation_bytes

    short, long, longer = activations(1000), activations(2000), activations(3000)
    assert longer - long == long - short
    # At least the frames, once as bytes and once as floats, and the assignments.
    assert (long - short) / 1000 > 5 * (6 + 4) + 4 * (3 + 2)


@pytest.mark.parametrize("family", ["netvlad", "attention_netvlad"])
def test_the_residuals_are_never_built(family):
    cost = of_experiment(load_experiment("youtube8m", family))
    assert cost.activation_bytes < 4 * 256 * 256 * 1024 / 2, "not even half of one float32 tensor of T x K x F"


def test_nothing_is_left_behind():
    config = experiment("netvlad", NetVLADConfig((3, 2)))
    of_experiment(config)
    model = build_model(config.model, config.dataset)
    frames = np.zeros((2, FRAMES, 10), np.uint8)
    assert np.isfinite(model({"frames": frames, "num_frames": np.array([FRAMES, 1], np.int32)})).all()
