"""Scores of windows: each frame goes through the model once, and few shapes are compiled."""

import numpy as np
import pytest
from fixtures.made_runs import drawn_model
from fixtures.support import SMALL

from pipeline.config import POOLING, ClassifierConfig, ModelConfig
from pipeline.inference.window_models import WindowModel, pieces

STARTS = np.arange(0, 91, 5)
FRAMES = np.random.default_rng(0).integers(0, 256, (100, SMALL.width), dtype=np.uint8)


@pytest.mark.parametrize("family", ["average", "netvlad", "attention_cluster"])
def test_what_is_made_of_a_frame_is_made_once(family, monkeypatch):
    settings = POOLING[family](**({} if family == "average" else {"clusters": (4,)}))
    model = drawn_model(ModelConfig(family, settings, ClassifierConfig(hidden=8)), SMALL, 0)
    windows = WindowModel(model, 4)
    seen, first = [], windows.halves[0]
    predict = first.predict_on_batch

    def counted(inputs):
        (count,) = inputs["num_frames"]
        seen.append(inputs["frames"][0, :count])
        return predict(inputs)

    monkeypatch.setattr(first, "predict_on_batch", counted)
    monkeypatch.setattr(model, "predict_on_batch", lambda inputs: pytest.fail("the whole model sees a window"))
    scores = windows.probabilities(FRAMES, STARTS, np.arange(10))
    assert scores.shape == (19, 9) and scores.dtype == np.float32
    np.testing.assert_array_equal(np.concatenate(seen), FRAMES)


def test_pieces_are_few_and_little_is_padded():
    assert list(pieces(600, 256)) == [(0, 256), (256, 256), (512, 64), (576, 16), (592, 16)]
    assert list(pieces(19, 4)) == [(0, 4), (4, 4), (8, 4), (12, 4), (16, 4)]
    for total in range(1, 700):
        found = list(pieces(total, 128))
        starts, sizes = zip(*found)
        assert [0, *np.cumsum(sizes)[:-1].tolist()] == list(starts)
        assert 0 <= sum(sizes) - total < 16 and set(sizes) <= {16, 32, 64, 128}
