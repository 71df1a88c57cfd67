"""What surrounds the pooling: the settings do what they say."""

import keras
import numpy as np
import pytest

from pipeline.config import AverageConfig, ClassifierConfig, DatasetConfig, FeatureConfig, ModelConfig, NetVLADConfig
from pipeline.models import build_model

DATASET = DatasetConfig("d", (FeatureConfig("rgb", 12), FeatureConfig("audio", 4)), num_classes=7)


def model(**classifier):
    return build_model(ModelConfig("netvlad", NetVLADConfig((3, 2)), ClassifierConfig(**classifier)), DATASET)


def names(built):
    return [layer.name for layer in built.layers]


def test_parameters_of_the_whole():
    """Written out: input norm, pooling, hidden layer, gating, experts; running statistics are not trained."""
    built = model(hidden=10, experts=2)
    pooling = sum(2 * k * f + 2 * k for k, f in ((3, 12), (2, 4)))
    descriptor = 3 * 12 + 2 * 4
    expected = (12 + 4) + pooling + descriptor * 10 + 2 * 10 + (10 * 10 + 2 * 10) + 10 * 5 * 7 + 2 * 7
    assert sum(int(np.prod(weight.shape)) for weight in built.trainable_weights) == expected


def test_the_baseline_of_the_paper_has_the_size_that_the_design_gives():
    """Gated NetVLAD, 256 and 64 clusters, hidden 1024, 3862 classes: 298 M trained weights."""
    dataset = DatasetConfig("y", (FeatureConfig("rgb", 1024), FeatureConfig("audio", 128)), 3862)
    config = ModelConfig("netvlad", NetVLADConfig((256, 64)), ClassifierConfig(hidden=1024, activation="none"))
    with keras.device("cpu"):
        built = build_model(config, dataset)
    descriptor = 256 * 1024 + 64 * 128
    expected = (
        1024 + 128  # input norm, scales
        + 2 * (256 * 1024 + 64 * 128) + 2 * (256 + 64)  # centres, assignment, its norm
        + descriptor * 1024 + 2 * 1024  # projection and its norm
        + 1024 * 1024 + 2 * 1024  # context gating
        + 1024 * 5 * 3862 + 2 * 3862  # two experts and the gate
    )  # fmt: skip
    trained = sum(int(np.prod(weight.shape)) for weight in built.trainable_weights)
    assert trained == expected
    assert round(trained / 1e6) == 298


def test_settings_are_there_or_not():
    assert "descriptor_dropout" not in names(model())
    assert "descriptor_dropout" in names(model(dropout=0.5))
    assert "hidden" not in names(model(hidden=0))
    assert "rgb_norm" not in names(model(input_batch_norm=False))
    assert "hidden_relu" not in names(model(activation="none"))
    assert "gating" not in names(model(gating="none"))
    assert "output_gating" in names(model(output_gating="context"))
    layered = names(model(head_hidden=(8, 6), head_dropout=0.1))
    assert [name for name in layered if name.startswith("head_")][:2] == ["head_hidden_0", "head_hidden_0_norm"]
    assert "head_dropout_1" in layered


def test_dropout_acts_in_training_only():
    keras.utils.set_random_seed(0)
    built = model(dropout=0.5, gating="none")
    inputs = {"frames": np.ones((2, 3, 16), np.uint8), "num_frames": np.array([3, 2], np.int32)}
    np.testing.assert_array_equal(np.asarray(built(inputs)), np.asarray(built(inputs)))
    dropped = keras.Model(built.inputs, built.get_layer("descriptor_dropout").output)
    assert (np.asarray(dropped(inputs, training=True)) == 0).mean() == pytest.approx(0.5, abs=0.2)


def test_the_outer_precision_is_left_alone():
    before = keras.config.dtype_policy().name
    build_model(ModelConfig("netvlad", NetVLADConfig((3, 2))), DATASET, "mixed_bfloat16")
    assert keras.config.dtype_policy().name == before


def test_video_level_floats():
    dataset = DatasetConfig("v", (FeatureConfig("mean_rgb", 5, "float32"),), 3, level="video")
    built = build_model(ModelConfig("average", AverageConfig()), dataset)
    inputs = {"frames": np.ones((2, 1, 5), np.float32), "num_frames": np.ones(2, np.int32)}
    assert built.predict_on_batch(inputs).shape == (2, 3)
