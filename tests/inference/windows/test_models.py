"""Scores of windows: each frame goes through the model once, and few shapes are compiled."""

import numpy as np
import pytest
from fixtures.made_runs import drawn_model
from fixtures.support import SMALL

from pipeline.config import POOLING, ClassifierConfig, ModelConfig
from pipeline.inference.windows.models import WindowModel, piece

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


@pytest.mark.parametrize(("family", "settings"), [("average", {}), ("recurrent", {"units": (4,)})])
def test_where_memory_runs_out_fewer_windows_go_at_a_time(family, settings, monkeypatch, capsys):
    model = drawn_model(ModelConfig(family, POOLING[family](**settings), ClassifierConfig(hidden=8)), SMALL, 0)
    windows = WindowModel(model, 16)
    expected = windows.probabilities(FRAMES, STARTS, np.arange(10))
    part = windows.halves[1] if windows.halves else model
    predict, sizes = part.predict_on_batch, []

    def with_room_for_5(inputs):
        sizes.append(len(inputs["counts" if windows.halves else "frames"]))
        if sizes[-1] > 5:
            raise MemoryError("out of memory")
        return predict(inputs)

    monkeypatch.setattr(part, "predict_on_batch", with_room_for_5)
    found = windows.probabilities(FRAMES, STARTS, np.arange(10))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert sizes == [16, 8, 4, 4, 4, 4, 4] and capsys.readouterr().err.count("out of memory: continuing") == 2


def test_pieces_are_few_and_little_is_padded():
    def pieces(left, most):
        while left > 0:
            yield piece(left, most)
            left -= piece(left, most)

    assert list(pieces(600, 256)) == [256, 256, 128]
    assert list(pieces(19, 4)) == [4, 4, 4, 4, 4]
    assert list(pieces(300, 256)) == [256, 64] and list(pieces(84, 256)) == [64, 16, 16]
    for total in range(1, 700):
        sizes = list(pieces(total, 128))
        assert 0 <= sum(sizes) - total < max(16, total / 2)
        assert len(sizes) <= total // 128 + 4 and set(sizes) <= {16, 32, 64, 128}
