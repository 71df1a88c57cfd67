"""What surrounds the pooling: the settings do what they say."""

import dataclasses

import keras
import numpy as np
import pytest

from pipeline.config import AverageConfig, ClassifierConfig, DatasetConfig, FeatureConfig, ModelConfig, NetVLADConfig
from pipeline.inputs.records.quantized import as_floats
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
    import tensorflow as tf

    dataset = DatasetConfig("y", (FeatureConfig("rgb", 1024), FeatureConfig("audio", 128)), 3862)
    config = ModelConfig("netvlad", NetVLADConfig((256, 64)), ClassifierConfig(hidden=1024, activation="none"))
    with tf.Graph().as_default():  # where weights have a shape and no memory
        built = build_model(config, dataset)
    descriptor = 256 * 1024 + 64 * 128
    expected = (
        1024 + 128  # input norm, scales
        + 2 * (256 * 1024 + 64 * 128) + 2 * (256 + 64)  # centers, assignment, its norm
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


def test_further_means_are_off_by_default():
    usual = names(model())
    assert not {"frame_dropout", "rgb_noise", "audio_noise", "descriptor_norm"} & set(usual)
    assert "frame_dropout" in names(model(frame_dropout=0.2))
    assert {"rgb_noise", "audio_noise"} <= set(names(model(feature_noise=0.2)))
    assert "descriptor_norm" in names(model(descriptor_batch_norm=True))


def test_frame_dropout_hides_frames_from_the_pooling_alone():
    """In training the mean is over some of the frames; batch norm's statistics are still over all of them."""
    keras.utils.set_random_seed(3)
    config = ModelConfig("average", AverageConfig(), ClassifierConfig(frame_dropout=0.5, hidden=0))
    built = build_model(config, DATASET)
    rng = np.random.default_rng(1)
    inputs = {"frames": rng.integers(0, 256, (8, 9, 16), np.uint8), "num_frames": np.full(8, 9, np.int32)}
    parts = [built.get_layer(name).output for name in ("frame_dropout", "rgb_norm", "rgb_pooling")]
    mask, values, pooled = (np.asarray(part) for part in keras.Model(built.inputs, parts)(inputs, training=True))
    assert 0 < mask.mean() < 1
    expected = (values * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
    np.testing.assert_allclose(pooled, expected, atol=1e-5)
    np.testing.assert_allclose(values.mean((0, 1)), 0, atol=1e-4)
    untouched = (np.asarray(part) for part in keras.Model(built.inputs, parts)(inputs, training=False))
    assert (next(untouched) == 1).all()


def test_halves_and_ranges_reach_the_pooling_as_the_floats_that_they_stand_for():
    """Three datasets of the same values, up to their rounding, and one set of weights."""
    rng = np.random.default_rng(1)
    stored = rng.integers(0, 256, (4, 5, 16), np.uint8)
    ranged = tuple(dataclasses.replace(feature, minimum=-5, maximum=90) for feature in DATASET.features)
    values = as_floats(stored, of_bytes := dataclasses.replace(DATASET, features=ranged))
    answers = []
    for dtype, frames in (("float32", values), ("float16", values.astype(np.float16)), ("uint8", stored)):
        features = tuple(dataclasses.replace(feature, dtype=dtype) for feature in DATASET.features)
        dataset = of_bytes if dtype == "uint8" else dataclasses.replace(DATASET, features=features)
        keras.utils.set_random_seed(3)
        built = build_model(ModelConfig("average", AverageConfig(), ClassifierConfig(input_batch_norm=False)), dataset)
        assert built.input["frames"].dtype == dtype
        inputs = {"frames": frames, "num_frames": np.array([5, 1, 3, 4], np.int32)}
        answers.append(built.predict(inputs, verbose=0))
        assert np.isfinite(built.predict(inputs | {"frames": np.full_like(frames, 255)}, verbose=0)).all()
    np.testing.assert_allclose(answers[1], answers[0], atol=1e-3)
    np.testing.assert_allclose(answers[2], answers[0], atol=1e-5)


def test_feature_noise_has_its_size_in_training_only():
    keras.utils.set_random_seed(4)
    built = model(feature_noise=0.3)
    before, after = (built.get_layer(name).output for name in ("rgb_norm", "rgb_noise"))
    parts = keras.Model(built.inputs, [before, after])
    inputs = {"frames": np.full((16, 30, 16), 90, np.uint8), "num_frames": np.full(16, 30, np.int32)}
    clean, noisy = (np.asarray(part) for part in parts(inputs, training=True))
    assert (noisy - clean).std() == pytest.approx(0.3, rel=0.05)
    assert (noisy - clean).mean() == pytest.approx(0, abs=0.02)
    clean, same = (np.asarray(part) for part in parts(inputs, training=False))
    np.testing.assert_array_equal(clean, same)


def test_descriptor_batch_norm_normalizes_over_the_batch():
    built = model(descriptor_batch_norm=True)
    rng = np.random.default_rng(2)
    inputs = {"frames": rng.integers(0, 256, (64, 5, 16), np.uint8), "num_frames": np.full(64, 5, np.int32)}
    normal = np.asarray(keras.Model(built.inputs, built.get_layer("descriptor_norm").output)(inputs, training=True))
    assert normal.shape == (64, 3 * 12 + 2 * 4)
    np.testing.assert_allclose(normal.mean(0), 0, atol=1e-4)
    assert (normal.std(0) > 0.5).all(), "the descriptor's own scale, below 1, is gone"


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
