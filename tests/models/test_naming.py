"""Names of layers: a feature's own where it can be, and never one that another layer has."""

import keras
import numpy as np
import pytest

from pipeline.config import (
    AverageConfig,
    ClassifierConfig,
    DatasetConfig,
    FeatureConfig,
    ModelConfig,
    SecondOrderConfig,
)
from pipeline.inference.frame_weights import frame_weights
from pipeline.models import build_model, load_model
from pipeline.models.naming import layer_names

EVERYTHING = ClassifierConfig(
    frame_dropout=0.1,
    feature_noise=0.1,
    descriptor_batch_norm=True,
    hidden=4,
    dropout=0.1,
    head_hidden=(4, 4),
    head_dropout=0.1,
    output_gating="context",
)


def model_of(*names: str, pooling=None) -> keras.Model:
    dataset = DatasetConfig("d", tuple(FeatureConfig(name, 3) for name in names), 5)
    family = "average" if pooling is None else "second_order"
    return build_model(ModelConfig(family, pooling or AverageConfig(), EVERYTHING), dataset)


def test_a_feature_has_its_name_where_it_always_had():
    """Stored models hold these names."""
    names = ["rgb", "audio", "mean_rgb", "a.b-c", "RGB", "netvlad", "classifier", "predictions", "x" * 100, "feature_7"]
    assert list(layer_names(names)) == names
    own = {f"{name}{part}" for name in ("rgb", "audio") for part in ("", "_norm", "_noise", "_pooling")}
    assert own < {layer.name for layer in model_of("rgb", "audio").layers}


def test_no_layer_has_the_name_of_another():
    own = {"rgb", "rgb_norm", "rgb_noise", "rgb_pooling"}
    others = sorted({layer.name for layer in model_of("rgb").layers} - own)
    assert {"frames", "num_frames", "head", "head_hidden_1_relu"} <= set(others)
    assert layer_names(others) == tuple(f"feature_{number}" for number in range(len(others)))
    for names in (
        ["a", "a_norm", "a_norm_norm", "a_pooling"],
        ["mask", "feature_0", "feature_0_norm"],
        ["feature_1", "mask", "feature_1_"],
        ["image/rgb", "a b", "é", "y" * 101, ":0", "feature_3_noise"],
    ):
        every = [f"{name}{part}" for name in layer_names(names) for part in ("", "_norm", "_noise", "_pooling")]
        assert len(set(every)) == len(every) and not set(every) & set(others), names


@pytest.mark.wide
@pytest.mark.parametrize("names", [("frames", "num_frames"), ("a_norm", "a"), ("Image/RGB é", "average"), ("x", "X")])
def test_a_model_of_any_names_predicts_what_that_of_plain_names_does(names, tmp_path):
    plain, named = model_of("rgb", "audio"), model_of(*names)
    named.set_weights(plain.get_weights())
    inputs = {"frames": np.arange(48, dtype=np.uint8).reshape(2, 4, 6), "num_frames": np.array([4, 2], np.int32)}
    expected = keras.ops.convert_to_numpy(plain(inputs, training=False))
    named.save(tmp_path / "model.keras")
    for model in (named, load_model(tmp_path / "model.keras")):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(inputs, training=False)), expected)
    weights = frame_weights(model_of(*names, pooling=SecondOrderConfig((2,), (2,))), inputs)
    assert tuple(weights) == layer_names(names)
