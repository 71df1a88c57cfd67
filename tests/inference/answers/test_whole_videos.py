"""Videos of one's own through a model: the same answers from every format, in order, whatever lies between."""

import numpy as np
import pytest
from fixtures.feature_files import WRITERS
from fixtures.made_runs import AVERAGE, FIVE, drawn_model

from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.config.errors import StageError
from pipeline.inference.answers.whole_videos import predict_videos
from pipeline.inference.ensemble import Ensemble
from pipeline.inference.given.files import find_own_videos
from pipeline.inference.given.videos import OwnVideo
from pipeline.inference.unloaded import UnloadedEnsemble
from pipeline.inputs.reading.own_records import UnreadableVideo
from pipeline.inputs.records import encoding, tfrecord
from pipeline.packing.settings import FeatureSettings

DATASET = DatasetConfig("own", (FeatureConfig("rgb", 3, "float32"),), num_classes=4, max_frames=12)
RNG = np.random.default_rng(4)
VIDEOS = {f"video {n}": RNG.normal(size=(n, 3)).astype(np.float32) for n in (2, 9, 1, 14, 5)}


def _no_thresholds(settings):
    raise StageError("there are none")


@pytest.fixture(scope="module")
def ensemble() -> UnloadedEnsemble:
    loaded = Ensemble.of_model(drawn_model(AVERAGE, DATASET, 3), FIVE, DATASET, 4)
    return UnloadedEnsemble(DATASET, [FIVE], list("abcd"), lambda: "digest", lambda: loaded, _no_thresholds)


def answers(ensemble, *files, batch_size=2, is_known=lambda video: False, **settings) -> list:
    found = find_own_videos(files, FeatureSettings(**settings), DATASET, 1)
    assert not found.faults
    return list(predict_videos(found.videos(), ensemble, batch_size, is_known))


@pytest.fixture(scope="module")
def expected(ensemble, tmp_path_factory) -> dict[str, np.ndarray]:
    """The scores of each video, by the number of the class, from TFRecords."""
    path = tmp_path_factory.mktemp("records") / "a.tfrecord"
    with path.open("wb") as file:
        tfrecord.write_records(
            file, [encoding.encode_sequence_example({"id": id}, {"rgb": video}) for id, video in VIDEOS.items()]
        )
    return scores_of(answers(ensemble, path))


def scores_of(found) -> dict[str, np.ndarray]:
    return {each.video.id: each.best[1][np.argsort(each.best[0])] for each in found}


@pytest.mark.parametrize("form", WRITERS)
def test_every_format_gives_the_scores_of_tfrecords(form, ensemble, expected, tmp_path):
    (tmp_path / "files").mkdir()
    written = WRITERS[form](tmp_path / "files", VIDEOS)
    settings = {"features": (f"rgb={written.pattern}",)}
    if written.rows is not None:
        lines = zip(*(map(str, written.rows.column(name)) for name in written.rows.names))
        text = "\n".join(map(",".join, [written.rows.names, *lines]))
        (tmp_path / "rows.csv").write_text(text)
        settings["rows"] = str(tmp_path / "rows.csv")
    found = scores_of(answers(ensemble, **settings))
    assert found.keys() == expected.keys() == VIDEOS.keys()
    for id, scores in expected.items():
        np.testing.assert_allclose(found[id], scores, atol=1e-6)  # of other batches
    assert len({scores.tobytes() for scores in expected.values()}) == len(VIDEOS)


def test_answers_come_in_order_with_what_is_known_or_unreadable_between(ensemble, expected, tmp_path):
    for number, video in enumerate(VIDEOS.values()):
        np.save(tmp_path / f"{number}.npy", video)
    np.save(tmp_path / "1b.npy", np.full((3, 3), np.nan, np.float32))
    np.save(tmp_path / "9.npy", np.full((3, 3), np.inf, np.float32))
    for batch_size in (1, 2, 8):
        found = answers(ensemble, tmp_path, batch_size=batch_size, is_known=lambda video: video.id in "03")
        told = [each.video.where if isinstance(each.video, UnreadableVideo) else each.video.id for each in found]
        assert told == ["0", "1", f"{tmp_path}/1b.npy", "2", "3", "4", f"{tmp_path}/9.npy"]
        assert [each.best is not None for each in found] == [False, True, False, True, False, True, False]
        for each in (found[1], found[3], found[5]):
            scores = expected[list(VIDEOS)[int(each.video.id)]]
            np.testing.assert_allclose(each.best[1][np.argsort(each.best[0])], scores, atol=1e-6)


def test_no_model_is_loaded_where_none_is_needed():
    def load():
        raise AssertionError

    ensemble = UnloadedEnsemble(DATASET, [FIVE], [], lambda: "", load, _no_thresholds)
    video = OwnVideo("a", "a.npy", (), load)
    found = [UnreadableVideo("b.npy", "why"), video]
    assert [each.best for each in predict_videos(iter(found), ensemble, 4, lambda video: True)] == [None, None]
    assert not list(predict_videos(iter([]), ensemble, 4))


def test_a_file_that_vanishes_meanwhile_is_named(ensemble, expected, tmp_path):
    for id, video in VIDEOS.items():
        np.save(tmp_path / f"{id}.npy", video)
    found = find_own_videos((tmp_path,), FeatureSettings(), DATASET, 1)
    (tmp_path / "video 2.npy").unlink()
    got = list(predict_videos(found.videos(), ensemble, 4))
    (fault,) = [each.video for each in got if isinstance(each.video, UnreadableVideo)]
    assert "video 2.npy" in str(fault)
    assert len(scores_of(each for each in got if each.best)) == len(VIDEOS) - 1


def test_few_files_are_open_and_few_videos_in_memory(ensemble, tmp_path, monkeypatch):
    """Reading runs ahead by a few batches, not by all files."""
    for number in range(40):
        np.savez(tmp_path / f"{number:02}.npz", rgb=np.ones((2, 3), np.float32))
    found = find_own_videos((tmp_path,), FeatureSettings(), DATASET, 1)
    read = []

    def counting():
        for each in found.videos():
            read.append(each.id)
            yield each

    for number, _ in enumerate(predict_videos(counting(), ensemble, 2)):
        assert len(read) <= number + 2 * 4
    assert len(read) == 40


def test_models_that_are_damaged_end_it(ensemble, tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", VIDEOS["video 2"])
    model = ensemble.load().members[0].models[0]
    monkeypatch.setattr(model, "predict_on_batch", lambda inputs: np.full((1, 4), np.nan), raising=False)
    with pytest.raises(StageError, match="not finite"):
        answers(ensemble, tmp_path)


def test_a_model_that_makes_more_of_a_video_than_there_is_memory_predicts_none(ensemble, tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", VIDEOS["video 2"])
    model = ensemble.load().members[0].models[0]
    monkeypatch.setattr(model, "predict_on_batch", lambda inputs: pytest.fail("it was asked"), raising=False)
    monkeypatch.setattr("pipeline.inference.activations.free_memory", lambda: 10)
    with pytest.raises(StageError, match="of memory for a video of 5 frames, and"):
        answers(ensemble, tmp_path)
