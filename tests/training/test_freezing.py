"""Frozen layers: named by patterns; whatever a family tracks stays the same to the bit."""

import numpy as np
import pytest
from fixtures.support import SMALL

from pipeline.config import POOLING, ClassifierConfig, ConfigError, ModelConfig
from pipeline.models import FAMILIES, build_model
from pipeline.training import statistics
from pipeline.training.freezing import freeze_layers

CLASSIFIER = ClassifierConfig(hidden=8, gating="context", head="logistic")
ALL_BUT_HEAD = ("rgb_*", "audio_*", "hidden*", "gating")


def model_of(family: str = "average"):
    return build_model(ModelConfig(family, POOLING[family](), CLASSIFIER), SMALL)


@pytest.mark.wide
@pytest.mark.parametrize("family", FAMILIES)
def test_a_frozen_layer_tracks_nothing_and_none_of_its_weights_is_trained(family, capsys):
    model = model_of(family)
    freeze_layers(model, ALL_BUT_HEAD)
    frozen = [layer for layer in model.layers if layer.name != "head"]
    before = [layer.get_weights() for layer in frozen]
    assert [weight.path for weight in model.trainable_weights] == [
        weight.path for weight in model.get_layer("head").weights
    ]
    statistics.start_at_zero(model)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (4, 5, 8)).astype(np.uint8)
    model({"frames": frames, "num_frames": np.array([5, 3, 1, 4], np.int32)}, training=True)
    with statistics.corrected_statistics(model, 1):
        for layer, weights in zip(frozen, before, strict=True):
            for one, other in zip(layer.get_weights(), weights, strict=True):
                assert one.tobytes() == other.tobytes(), layer.name
    parameters = model.count_params() - model.get_layer("head").count_params()
    assert capsys.readouterr().out.startswith(f"frozen are {parameters:,} parameters: rgb_")


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (
            ("hidden", "gone_*"),
            "gone_.: average has no such layer; it has rgb_norm, audio_norm, hidden, ",
        ),
        (("RGB_norm",), "RGB_norm: average has no such layer"),
        (("rgb",), "rgb: average has no such layer"),  # it has no weights
        (("*",), "nothing is left to train of rgb_norm"),
    ],
)
def test_a_pattern_that_matches_no_layer_is_refused_with_their_names(patterns, message):
    with pytest.raises(ConfigError, match=f"--training.freeze .*{message}"):
        freeze_layers(model_of(), patterns)
