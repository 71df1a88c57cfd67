"""Soft labels: targets against a dense slow form; only of these videos; read from disk."""

import numpy as np
import pytest
from fixtures.support import labels_of

from pipeline.artifacts.done import Done
from pipeline.artifacts.predictions import Predictions, PredictionStore
from pipeline.config import SamplingConfig
from pipeline.config.errors import StageError
from pipeline.inputs.reading.reader import FrameReader
from pipeline.training.batches import EpochSampler, TrainBatches
from pipeline.training.mixup import draw_pairs, mix_batch
from pipeline.training.soft_labels import SoftLabels

ALL = SamplingConfig(train="all")
KEPT = 4


def answers(videos: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The best labels of each video, int16 [N,4], and their probabilities."""
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.permutation(9)[:KEPT] for _ in range(videos)]).astype(np.int16)
    return labels, -np.sort(-rng.random((videos, KEPT)).astype(np.float32), axis=1)


def write_store(folder, ids, labels, scores, part=7) -> PredictionStore:
    store = PredictionStore(folder)
    for number, videos in store.begin({}, {"seed": str(labels.sum())}, len(ids), part):
        rows = slice(videos.start, videos.stop)
        store.write(number, Predictions(ids[rows], labels[rows], scores[rows]))
    store.finish({}, {})
    return store


@pytest.fixture
def store(small_index, tmp_path) -> PredictionStore:
    rows = small_index.rows("train")
    return write_store(tmp_path / "store", small_index.ids_of(rows), *answers(len(rows)))


def dense_targets(index, rows, share) -> np.ndarray:
    """Video by video, from the answers that the store was written from."""
    labels, scores = answers(40)
    targets = np.zeros((len(rows), 9))
    for target, row in zip(targets, rows):
        video = int(index.ids_of(np.array([row]))[0][1:])
        target[labels_of(video)] = 1 - share
        for label, score in zip(labels[video], scores[video]):
            target[label] += share * score
    return targets


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_targets_against_their_definition(small_index, store, tmp_path, share):
    teacher = SoftLabels(store, tmp_path / "teacher", small_index, share)
    teacher.open()
    sampler = EpochSampler(small_index.rows("train"), 16, seed=1)
    reader = FrameReader(small_index)
    plain = TrainBatches(reader, sampler, range(3), ALL)
    taught = TrainBatches(reader, sampler, range(3), ALL, teacher=teacher)
    for step in range(3):
        inputs, targets = taught[step]
        assert targets.dtype == np.float32
        np.testing.assert_allclose(targets, dense_targets(small_index, sampler.step(step), share), atol=1e-6)
        np.testing.assert_array_equal(inputs["frames"], plain[step][0]["frames"])


def test_mixup_mixes_the_targets(small_index, store, tmp_path):
    teacher = SoftLabels(store, tmp_path / "teacher", small_index, 0.6)
    teacher.open()
    sampler = EpochSampler(small_index.rows("train"), 16, seed=1)
    reader = FrameReader(small_index)
    inputs, targets = TrainBatches(reader, sampler, range(4), ALL, 0.4, teacher)[2]
    plain, _ = TrainBatches(reader, sampler, range(4), ALL)[2]
    dense = dense_targets(small_index, sampler.step(2), 0.6)
    rng = np.random.default_rng((1, 2, 1))
    frames, mixed = mix_batch(
        plain["frames"], plain["num_frames"], dense.astype(np.float32), *draw_pairs(len(dense), 0.4, rng)
    )
    np.testing.assert_array_equal(inputs["frames"], frames)
    np.testing.assert_allclose(targets, mixed, atol=1e-6)
    assert np.abs(mixed - dense).max() > 0.1, "something was mixed"


def test_only_some_of_the_rows_are_trained_on(small_index, tmp_path):
    """Rows of the index and of the arrays differ: the training videos are every third."""
    rows = small_index.rows("train")[::3]
    small_index.rows = lambda split: rows
    labels, scores = answers(40)
    store = write_store(tmp_path / "store", small_index.ids_of(rows), labels[::3], scores[::3])
    teacher = SoftLabels(store, tmp_path / "teacher", small_index, 1.0)
    teacher.open()
    chosen = rows[[5, 0, 9, 5]]
    np.testing.assert_allclose(
        teacher.mixed_into(np.zeros((4, 9), np.float32), chosen), dense_targets(small_index, chosen, 1.0), atol=1e-6
    )


def test_they_stay_on_disk_and_are_unpacked_once(small_index, store, tmp_path):
    teacher = SoftLabels(store, tmp_path / "teacher", small_index, 0.5)
    teacher.open()
    assert isinstance(teacher._labels, np.memmap) and isinstance(teacher._scores, np.memmap)
    assert {path.name for path in teacher.folder.iterdir()} == {"labels.npy", "scores.npy", "done.json"}
    stamp = (teacher.folder / "labels.npy").stat().st_mtime_ns
    teacher.open()
    assert (teacher.folder / "labels.npy").stat().st_mtime_ns == stamp
    rows = small_index.rows("train")
    labels, scores = answers(len(rows), seed=1)
    teacher.store = write_store(tmp_path / "store", small_index.ids_of(rows), labels, scores)
    teacher.open()
    np.testing.assert_array_equal(teacher._labels, labels)
    np.testing.assert_array_equal(teacher._scores, scores)
    teacher.remove()
    assert not teacher.folder.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ids, labels, scores: ids.reverse(), "from number 0 on: run infer --split train again"),
        (lambda ids, labels, scores: ids.__setitem__(20, "v021"), "from number 14 on"),
        (lambda ids, labels, scores: ids.append("more"), "from number 35 on"),
        (lambda ids, labels, scores: ids.pop(), "from number 39 on"),
        (lambda ids, labels, scores: ids.clear(), "from number 0 on"),
        (lambda ids, labels, scores: labels.__setitem__((30, 2), 9), r"labels outside 0\.\.8"),
        (lambda ids, labels, scores: scores.__setitem__((30, 0), 1.5), "scores that are not in 0..1"),
        (lambda ids, labels, scores: scores.__setitem__((30, 0), np.nan), "scores that are not in 0..1"),
    ],
)
def test_predictions_that_cannot_teach_are_refused(small_index, tmp_path, change, message):
    ids = small_index.ids_of(small_index.rows("train"))
    labels, scores = answers(len(ids) + 1)
    change(ids, labels, scores)
    teacher = SoftLabels(
        write_store(tmp_path / "store", ids, labels[: len(ids)], scores[: len(ids)]),
        tmp_path / "teacher",
        small_index,
        0.5,
    )
    with pytest.raises(StageError, match=message):
        teacher.open()
    assert not teacher.folder.exists()
    assert Done.read(teacher.store.folder), "the teacher's own files are left alone"
