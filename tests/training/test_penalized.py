"""Penalties beside the loss: each by its name, in the loss as well, on every backend (by test_loop.py)."""

import keras
import numpy as np
import pytest

from pipeline.config import (
    ClassifierConfig,
    DatasetConfig,
    FeatureConfig,
    ModelConfig,
    NetVLADConfig,
    SecondOrderConfig,
)
from pipeline.models import build_model
from pipeline.training.loss import SummedBinaryCrossentropy
from pipeline.training.penalized import PenalizedModel

TAKEN = 1 if keras.backend.backend() == "jax" else 2  # features: each takes JAX seconds to compile
FEATURES = (FeatureConfig("rgb", 6), FeatureConfig("audio", 4))[:TAKEN]
DATASET = DatasetConfig("p", FEATURES, 5)
SIMPLE = {"gating": "none", "head": "logistic"}
SCALES = {"center_orthogonality": 0.1, "center_sparsity": 0.01, "tangent_validity": 0.3}


def second_order(**scales) -> SecondOrderConfig:
    """Without whitening, of whose steps no penalty knows: they are most of the graph."""
    sizes = (3, 2)[:TAKEN], (4, 2)[:TAKEN]
    return SecondOrderConfig(*sizes, first_whitening="none", second_whitening="none", **scales)


def build(family="second_order", pooling=None, **classifier) -> PenalizedModel:
    keras.utils.set_random_seed(0)
    pooling = pooling or second_order(**SCALES)
    model = PenalizedModel(
        build_model(ModelConfig(family, pooling, ClassifierConfig(hidden=4, **SIMPLE, **classifier)), DATASET)
    )
    # Nothing moves, so that what the centers give is known all along.
    jit_compile = keras.backend.backend() == "jax"
    model.compile(keras.optimizers.SGD(0.0), SummedBinaryCrossentropy(), jit_compile=jit_compile)
    return model


def batches(videos=8):
    rng = np.random.default_rng(1)
    inputs = {
        "frames": rng.integers(0, 256, (videos, 7, DATASET.width), dtype=np.uint8),
        "num_frames": rng.integers(1, 8, videos).astype(np.int32),
    }
    return inputs, (rng.random((videos, 5)) < 0.3).astype(np.float32)


@pytest.mark.wide
def test_fit_gives_each_penalty_by_its_name():
    model = build(head_l2=0.5)
    history = model.fit(*batches(), batch_size=4, epochs=2, shuffle=False, verbose=0).history
    assert set(history) == {"loss"} | {f"{feature.name}_{name}" for feature in FEATURES for name in SCALES}
    for feature in (feature.name for feature in FEATURES):
        pooling = model.get_layer(f"{feature}_pooling")
        sparsity = orthogonality = 0
        for branch in (pooling.first, pooling.second):
            centers = keras.ops.convert_to_numpy(branch.centers).astype(np.float64)
            units = centers / np.linalg.norm(centers, axis=1, keepdims=True)
            sparsity += 0.01 * np.abs(centers).sum()
            orthogonality += 0.1 * ((units @ units.T - np.eye(len(centers))) ** 2).sum()
        for epoch in range(2):
            assert history[f"{feature}_center_sparsity"][epoch] == pytest.approx(sparsity, rel=1e-4)
            assert history[f"{feature}_center_orthogonality"][epoch] == pytest.approx(orthogonality, rel=1e-4)
            assert history[f"{feature}_tangent_validity"][epoch] > 0


def test_penalties_are_in_the_loss_once():
    losses = {}
    for name, pooling in (("with", None), ("without", second_order())):
        history = build(pooling=pooling, head_l2=0.0).fit(*batches(), batch_size=8, verbose=0).history
        losses[name] = history.pop("loss")[0]
        if name == "with":
            terms = sum(values[0] for values in history.values())
        else:
            assert not history
    assert losses["with"] - losses["without"] == pytest.approx(terms, rel=1e-4)


def test_they_are_no_part_of_the_weights_or_of_evaluation():
    model = build()
    plain = build_model(ModelConfig("second_order", second_order(), ClassifierConfig(hidden=4, **SIMPLE)), DATASET)
    assert [variable.path for variable in model.variables] == [variable.path for variable in plain.variables]
    before = [float(mean.result()) for mean in model.penalties]
    model.evaluate(*batches(), verbose=0)
    assert [float(mean.result()) for mean in model.penalties] == before


def test_a_model_without_penalties_shows_the_loss_alone():
    model = build("netvlad", NetVLADConfig((3, 2)))
    assert set(model.fit(*batches(), verbose=0).history) == {"loss"}
