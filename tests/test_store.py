"""The store of predictions: exact, resumable, and honest about damage."""

import numpy as np
import pytest

from pipeline.artifacts import StageError
from pipeline.store import Predictions, PredictionStore, predicted_splits

IDS = ["1e10", "NaN", "-abc", "0012", "true", "a b", "é"]


def predictions(first: int, last: int) -> Predictions:
    rng = np.random.default_rng(0)
    scores = -np.sort(-rng.random((len(IDS), 5)).astype(np.float32), axis=1)
    labels = np.argsort(rng.random((len(IDS), 9)), axis=1)[:, :5].astype(np.int16)
    return Predictions(IDS[first:last], labels[first:last], scores[first:last])


def fill(store: PredictionStore, config, inputs=None) -> list[int]:
    missing = store.begin(config, inputs or {"model": "m"}, len(IDS), 3)
    for number, videos in missing:
        store.write(number, predictions(videos.start, videos.stop))
    return [number for number, _ in missing]


def test_what_is_written_is_read_bit_by_bit(tmp_path):
    store = PredictionStore(tmp_path / "test")
    assert fill(store, {}) == [0, 1, 2]
    store.finish({}, {"model": "m"})
    parts = list(store.read())
    whole = predictions(0, len(IDS))
    assert [identity for part in parts for identity in part.ids] == IDS
    np.testing.assert_array_equal(np.concatenate([part.labels for part in parts]), whole.labels)
    np.testing.assert_array_equal(np.concatenate([part.scores for part in parts]), whole.scores)
    assert parts[0].labels.dtype == np.int16 and parts[0].scores.dtype == np.float32


def test_only_missing_parts_are_written_again(tmp_path):
    store = PredictionStore(tmp_path)
    fill(store, {"k": 5})
    before = {part.name: part.read_bytes() for part in store.parts()}
    store.parts()[1].unlink()
    (tmp_path / ".part-00001.parquet.99999999.part").write_bytes(b"half")  # of a killed process
    assert fill(store, {"k": 5}) == [1]
    assert {part.name: part.read_bytes() for part in store.parts()} == before
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("change", [({"k": 6}, None), ({"k": 5}, {"model": "other"})])
def test_parts_of_other_settings_or_inputs_are_removed(tmp_path, change):
    store = PredictionStore(tmp_path)
    fill(store, {"k": 5})
    store.finish({"k": 5}, {"model": "m"})
    assert fill(store, *change) == [0, 1, 2]
    with pytest.raises(StageError, match="no finished predictions"):
        list(store.read())


def test_an_unfinished_store_is_not_read(tmp_path):
    store = PredictionStore(tmp_path)
    fill(store, {})
    with pytest.raises(StageError, match=r"no finished predictions: run infer"):
        list(store.read())


def test_a_damaged_part_is_named(tmp_path):
    store = PredictionStore(tmp_path)
    fill(store, {})
    store.finish({}, {"model": "m"})
    part = store.parts()[1]
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(StageError, match=r"part-00001\.parquet is damaged"):
        list(store.read())


def test_the_splits_of_a_run_are_those_it_finished(tmp_path):
    for split in ("test", "holdout"):
        store = PredictionStore(tmp_path / "predictions" / split)
        fill(store, {})
        store.finish({}, {"model": "m"})
    PredictionStore(tmp_path / "predictions" / "unfinished").begin({}, {}, 3, 3)
    assert predicted_splits(tmp_path) == ["holdout", "test"]


def test_the_same_predictions_have_the_same_digest(tmp_path):
    digests = []
    for name in ("a", "b"):
        store = PredictionStore(tmp_path / name)
        fill(store, {})
        digests.append(store.finish({}, {"model": "m"}).output)
    assert digests[0] == digests[1]
