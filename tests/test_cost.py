"""Costs of models against the formulas of their layers."""

import dataclasses
import functools
import json
import re

import numpy as np
import pytest

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
from pipeline.models import FAMILIES, build_model
from pipeline.presets import load_experiment
from pipeline.runtime import backend

DATASET = DatasetConfig("c", (FeatureConfig("rgb", 6), FeatureConfig("audio", 4)), 5, max_frames=12)
RGB = DatasetConfig("c", DATASET.features[:1], 5, max_frames=12)
"""With one feature: half of the graph."""
HIDDEN, CLASSES, FRAMES = 16, 5, 7


def experiment(
    family: str, pooling: PoolingConfig, sampling: SamplingConfig | None = None, dataset: DatasetConfig = DATASET
) -> Experiment:
    model = ModelConfig(family, pooling, ClassifierConfig(hidden=HIDDEN))
    return Experiment(dataset, model, sampling or SamplingConfig(frames=FRAMES))


def around(descriptor: int, frames_scaled: bool) -> tuple[int, int]:
    """Parameters and FLOPs of all but the pooling layers."""
    weights = (descriptor * HIDDEN, HIDDEN * HIDDEN, 5 * HIDDEN * CLASSES)  # dense, gating, two experts and three gates
    norms = (6 + 4) * frames_scaled + 2 * HIDDEN + 2 * HIDDEN
    return sum(weights) + norms + 2 * CLASSES, 2 * sum(weights)


def test_netvlad():
    cost = of_experiment(experiment("netvlad", NetVLADConfig((3, 2))))
    centers = 3 * 6 + 2 * 4
    parameters, flops = around(descriptor=centers, frames_scaled=True)
    assert cost.pooling_parameters == 2 * centers + 2 * (3 + 2)
    assert cost.parameters == parameters + cost.pooling_parameters
    # Each frame's assignments, and the sums over the frames.
    assert cost.flops == flops + 2 * FRAMES * centers + 2 * FRAMES * centers


def test_recurrent_reads_every_frame_in_both_directions():
    cost = of_experiment(experiment("recurrent", RecurrentConfig("lstm", (3,)), dataset=RGB))
    parameters, flops = around(descriptor=2 * 3, frames_scaled=False)
    assert cost.pooling_parameters == 2 * 4 * 3 * (6 + 3 + 1)
    assert cost.parameters == parameters + cost.pooling_parameters
    assert cost.flops == flops + FRAMES * 2 * 2 * 4 * 3 * (6 + 3)


@pytest.mark.wide
def test_work_that_is_done_once_a_batch_is_not_a_videos():
    """Whitening: the inverse root is the same for all videos of a batch."""
    settings = {"first_whitening": "none"}
    pooling = SecondOrderConfig((3,), (4,), second_whitening="none", **settings)
    plain = of_experiment(experiment("second_order", pooling, dataset=RGB))
    whitened = of_experiment(experiment("second_order", SecondOrderConfig((3,), (4,), **settings), dataset=RGB))
    # The sums of the second branch's unit vectors, and U S U^T for each cluster.
    assert whitened.flops - plain.flops == 2 * FRAMES * 3 * 4 + 2 * 3 * 2 * 4**3


def test_frames_are_those_of_the_sampling():
    cost = of_experiment(experiment("average", POOLING["average"](), SamplingConfig("random_frames", "all", FRAMES)))
    assert (cost.frames, cost.training_frames) == (12, FRAMES)
    parameters, flops = around(descriptor=10, frames_scaled=False)
    assert (cost.parameters, cost.pooling_parameters) == (parameters, 0)
    assert cost.flops == flops + 2 * 12 * 10


@pytest.mark.wide
def test_memory_grows_with_the_frames():
    def activations(frames: int) -> int:
        pooling = NetVLADConfig((3,))
        return of_experiment(experiment("netvlad", pooling, SamplingConfig(frames=frames), RGB)).activation_bytes

    short, long, longer = activations(1000), activations(2000), activations(3000)
    assert longer - long == long - short
    # At least the frames, once as bytes and once as floats, and the assignments.
    assert (long - short) / 1000 > 5 * 6 + 4 * 3


@pytest.mark.wide
@pytest.mark.parametrize("family", ["netvlad", "attention_netvlad"])
def test_the_residuals_are_never_built(family):
    whole = load_experiment("youtube8m", family)
    classifier = dataclasses.replace(whole.model.classifier, hidden=8)  # whose 300 million weights are not looked at
    # The first feature is the larger one.
    pooling = {name: value[:1] for name, value in vars(whole.model.pooling).items() if isinstance(value, tuple)}
    model = dataclasses.replace(
        whole.model, classifier=classifier, pooling=dataclasses.replace(whole.model.pooling, **pooling)
    )
    dataset = dataclasses.replace(whole.dataset, features=whole.dataset.features[:1])
    assert (dataset.features[0].size, pooling["clusters"]) == (1024, (256,))
    whole = dataclasses.replace(whole, model=model, dataset=dataset)
    cost = of_experiment(whole)
    assert cost.activation_bytes < 4 * 256 * 256 * 1024 / 2, "not even half of one float32 tensor of T x K x F"


def test_nothing_is_left_behind():
    config = experiment("average", POOLING["average"]())
    of_experiment(config)
    model = build_model(config.model, config.dataset)
    frames = np.zeros((2, FRAMES, 10), np.uint8)
    assert np.isfinite(model({"frames": frames, "num_frames": np.array([FRAMES, 1], np.int32)})).all()


FEW = ("average", "netvlad")


@pytest.fixture(autouse=True, scope="module")
def _once():
    """What costs the same is counted once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.cost.of_experiment", functools.cache(of_experiment))
        yield


def test_json_has_a_row_for_each_family_and_nothing_else_is_printed(stage, monkeypatch):
    started = []
    monkeypatch.setattr(backend, "start_tracing", lambda: started.append(True))
    result = stage("cost", "--preset", "audioset", "--families", *FEW, "--json")
    assert started, "which is TensorFlow whatever backend is set: tests/runtime/test_backend.py"
    rows = json.loads(result.stdout)
    assert [row["family"] for row in rows] == list(FEW)
    netvlad = rows[1]
    assert netvlad["source"] == FAMILIES["netvlad"].source
    assert netvlad["frames"] == netvlad["training_frames"] == 10
    assert netvlad["pooling_parameters"] == 2 * 64 * 128 + 2 * 64
    assert netvlad["parameters"] > netvlad["pooling_parameters"]
    assert netvlad["flops"] > 4 * 10 * 64 * 128
    assert netvlad["activation_bytes"] > 10 * 128 * 5


def test_the_table_has_a_line_for_each_family(stage):
    head, *lines = stage("cost", "--preset", "audioset", "--families", *FEW).stdout.splitlines()
    assert head.split() == ["frames", "parameters", "in", "pooling", "GFLOPs", "MB", "source"]
    assert [line.split()[0] for line in lines[: len(FEW)]] == list(FEW)
    assert lines[1].split()[1] == "10" and lines[1].endswith(FAMILIES["netvlad"].source)
    assert "audioset: audio 128, 527 classes" in lines


def test_an_unknown_family_is_refused_with_the_nearest(stage):
    result = stage("cost", "--families", "average", "netvald", check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("error: unknown model 'netvald'. Did you mean netvlad?")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_source_in_the_table_is_one_of_the_docstrings(family):
    layer = FAMILIES[family]
    documented = layer.__doc__.partition("Source")[2]
    for name in re.findall(r"[A-Z][\w-]+|\d{4}", layer.source):
        assert name in documented, name
