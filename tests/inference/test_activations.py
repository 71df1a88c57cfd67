"""The memory of what models make of a video: counted by running them, and refused where there is too little."""

import keras
import numpy as np
import pytest
from fixtures.support import SMALL

from pipeline.config import POOLING, ClassifierConfig, ModelConfig
from pipeline.config.errors import StageError
from pipeline.inference import activations
from pipeline.inference.activations import values_of_video, values_within, videos_at_once
from pipeline.models import build_model

FRAMES = 7


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return build_model(ModelConfig("netvlad", POOLING["netvlad"]((4, 2)), ClassifierConfig(hidden=4)), SMALL)


def test_values_are_those_that_the_layers_of_a_model_make(model):
    every = keras.Model(model.input, [layer.output for layer in model.layers])
    inputs = {"frames": np.zeros((1, FRAMES, SMALL.width), np.uint8), "num_frames": np.full(1, FRAMES, np.int32)}
    made = sum(np.asarray(each).size for each in keras.tree.flatten(every.predict_on_batch(inputs)))
    assert values_of_video(model, FRAMES) == made + FRAMES * 4  # and the assignments to the 4 clusters of a feature


def test_attention_has_a_value_for_each_two_frames_and_head():
    assert values_within({"clusters": [8, 2], "heads": (3,)}, 100) == 100 * 100 * 3
    assert values_within({"clusters": [8, 2]}, 100) == 800 and values_within({}, 100) == 100
    assert values_of_video(object(), 100) == 0  # ONNX Runtime bounds its memory itself


def test_as_many_videos_as_there_is_room_for(model, monkeypatch):
    needed = 4 * values_of_video(model, FRAMES)
    for free, most, fitting in ((10 * needed, 256, 10), (10 * needed, 3, 3), (needed, 256, 1)):
        monkeypatch.setattr(activations, "free_memory", lambda free=free: free)
        assert videos_at_once([model, object()], FRAMES, most) == fitting
    monkeypatch.setattr(activations, "free_memory", lambda: needed - 1)
    with pytest.raises(StageError, match=r"of memory for a window of 7 frames, and 0\.0 GB are free: take a machine"):
        videos_at_once([model], FRAMES, 256, "window")
    assert videos_at_once([object()], FRAMES, 256) == 256
