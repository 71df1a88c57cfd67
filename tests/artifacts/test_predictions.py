"""The store of predictions: exact, resumable, and honest about damage."""

import errno
import shutil

import numpy as np
import pytest

from pipeline.artifacts.predictions import Predictions, PredictionStore, list_predicted_splits
from pipeline.config.errors import StageError

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


def test_labels_beyond_int16(tmp_path):
    store = PredictionStore(tmp_path / "test")
    ids, labels, scores = predictions(0, 3)
    labels = labels.astype(np.int32) * 12_000
    store.write_all({}, {}, 2, Predictions(ids, labels, scores))
    parts = list(store.read())
    assert [part.labels.dtype for part in parts] == [np.int32] * 2
    np.testing.assert_array_equal(np.concatenate([part.labels for part in parts]), labels)


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


def test_no_flipped_bit_is_read(tmp_path, capsys):
    """Each part has checksums, of its pages and as a whole: whatever bit is flipped, nothing is given."""
    store = PredictionStore(tmp_path)
    fill(store, {})
    store.finish({}, {"model": "m"})
    part, rng = store.parts()[0], np.random.default_rng(0)
    good = part.read_bytes()
    for bit in rng.integers(0, 8 * len(good), 60).tolist():
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        part.write_bytes(bad)
        with pytest.raises(StageError, match=r"run infer \(or ensemble\) again"):
            list(store.read())
        assert not store.is_up_to_date({}, {"model": "m"})
        assert "is made again: what it holds is not what was written" in capsys.readouterr().out
    part.write_bytes(good)
    assert len(list(store.read())) == 3 and store.is_up_to_date({}, {"model": "m"})


def test_pages_have_checksums_by_themselves(tmp_path):
    """A part that was damaged before the store was finished is found out too."""
    store = PredictionStore(tmp_path)
    fill(store, {})
    part = store.parts()[0]
    bad = bytearray(part.read_bytes())
    place = bad.index(part.read_bytes()[60:90])  # within the first pages
    bad[place + 10] ^= 1
    part.write_bytes(bad)
    store.finish({}, {"model": "m"})
    with pytest.raises(StageError, match=r"part-00000\.parquet is damaged"):
        list(store.read())


def test_parts_of_another_store_are_not_its_own(tmp_path):
    one, two = PredictionStore(tmp_path / "one"), PredictionStore(tmp_path / "two")
    for store, config in ((one, {"k": 1}), (two, {"k": 2})):
        fill(store, config)
        store.finish(config, {"model": "m"})
    one.write(0, predictions(3, 6))
    with pytest.raises(StageError, match="does not hold the parts that were written: run infer"):
        list(one.read())
    assert one.begin({"k": 1}, {"model": "m"}, len(IDS), 3) == [(0, range(3)), (1, range(3, 6)), (2, range(6, 7))]
    assert not (one.folder / "done.json").exists()


def test_what_is_made_anew_while_it_is_read_is_refused(tmp_path):
    store = PredictionStore(tmp_path)
    fill(store, {})
    store.finish({}, {"model": "m"})
    parts = store.read()
    next(parts)
    fill(store, {}, {"model": "other"})
    store.finish({}, {"model": "other"})
    with pytest.raises(StageError, match="was made anew while it was read: run the same command again"):
        list(parts)


def test_what_cannot_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    store = PredictionStore(tmp_path)
    fill(store, {})
    store.finish({}, {"model": "m"})

    def refuse(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("pyarrow.parquet.ParquetFile", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        list(store.read())


def test_what_a_killed_process_left_of_a_store_it_deleted_is_removed(tmp_path):
    left = tmp_path / ".test.x0123abcd.part"
    (left / "below").mkdir(parents=True)
    fill(PredictionStore(tmp_path / "test"), {})
    assert [path.name for path in tmp_path.iterdir()] == ["test"]


def test_why_it_is_made_again(tmp_path, capsys):
    store = PredictionStore(tmp_path)
    assert not store.is_up_to_date({}, {})
    fill(store, {"k": 5})
    assert not store.is_up_to_date({"k": 5}, {"model": "m"})
    assert capsys.readouterr().out == ""
    store.finish({"k": 5}, {"model": "m"})
    assert store.is_up_to_date({"k": 5}, {"model": "m"})
    assert not store.is_up_to_date({"k": 6}, {"model": "n"})
    assert capsys.readouterr().out == (f"{tmp_path}: up to date\n{tmp_path} is made again: k: 5 -> 6; model changed\n")


def test_the_splits_of_a_run_are_those_it_finished(tmp_path):
    for split in ("test", "holdout"):
        store = PredictionStore(tmp_path / "predictions" / split)
        fill(store, {})
        store.finish({}, {"model": "m"})
    PredictionStore(tmp_path / "predictions" / "unfinished").begin({}, {}, 3, 3)
    shutil.copytree(tmp_path / "predictions" / "test", tmp_path / "predictions" / ".train.123.part")  # half-deleted
    assert list_predicted_splits(tmp_path) == ["holdout", "test"]


def test_the_same_predictions_have_the_same_digest(tmp_path):
    digests = []
    for name in ("a", "b"):
        store = PredictionStore(tmp_path / name)
        fill(store, {})
        digests.append(store.finish({}, {"model": "m"}).output)
    assert digests[0] == digests[1]
