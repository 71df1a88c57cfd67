"""What holds for files of every kind: one id a video, one size, few open files."""

import pickle

import numpy as np
import pytest

from pipeline.config.errors import StageError
from pipeline.packing.sources import files_source
from pipeline.packing.sources.files_source import Needed
from pipeline.packing.sources.opening import open_features
from pipeline.packing.sources.source import UnreadableFeature, id_text


def save(folder, **arrays):
    for name, values in arrays.items():
        path = folder / f"{name.replace('__', '/')}.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, values)
    return lambda: open_features("rgb", f"{folder}/**/*.npy", None, None, 1)


def test_an_id_that_is_there_twice_is_refused_with_both_places(tmp_path):
    opened = save(tmp_path, x__a=np.ones((1, 2)), y__a=np.ones((1, 2)), z__a=np.ones((1, 2)), z__b=np.ones((1, 2)))
    told = rf"the id 'a' is there twice, in {tmp_path}/x/a.npy and in {tmp_path}/y/a.npy; so is 1 other video.* rename"
    with pytest.raises(StageError, match=told):
        opened()


def test_a_feature_that_is_taken_for_a_video_is_told(tmp_path):
    for name in ("v1", "v2"):
        np.savez(tmp_path / f"{name}.npz", delta=np.zeros((3, 2), np.float32), lpc=np.zeros((3, 2), np.float32))
    told = r"the id 'delta' is there twice.* each file is a video, and delta one of its features: --features delta=PAT"
    with pytest.raises(StageError, match=told):
        open_features("mfcc", f"{tmp_path}/*.npz", None, None, 1)
    assert len(open_features("delta", f"{tmp_path}/*.npz", None, None, 1).ids) == 2


def test_videos_of_another_size_than_most_are_named(tmp_path):
    source = save(tmp_path, a=np.ones((1, 5)), b=np.ones((2, 3)), c=np.ones((4, 3)), d=np.ones((1, 3), np.uint8))()
    assert source.ids == ["b", "c"] and source.size == 3 and source.lengths.tolist() == [2, 4]
    assert source.faults == [
        (
            str(tmp_path / "a.npy"),
            "its frames have 5 values, those of most videos 3 values: extract it again, or name the files of one "
            "feature alone",
        ),
        (
            str(tmp_path / "d.npy"),
            "its values are integers, those of most videos floats: extract it again, or name the files of one feature "
            "alone",
        ),
    ]
    assert source.where(1) == str(tmp_path / "c.npy") and source.read(1).shape == (4, 3)


def test_where_a_model_needs_a_size_each_video_stands_for_itself(tmp_path):
    save(tmp_path, x__a=np.ones((1, 3)), y__a=np.ones((2, 3)), b=np.ones((2, 5)), c=np.ones((4, 3), np.uint8))
    source = open_features("rgb", f"{tmp_path}/**/*.npy", None, None, 1, Needed(3, "the 3 values of rgb"))
    assert source.ids == ["c", "a"] and [source.read(video).dtype for video in (0, 1)] == [np.uint8, np.float64]
    told = "its frames have 5 values, and the model needs the 3 values of rgb: extract it as the videos were that the"
    assert source.faults == [
        (f"{tmp_path}/b.npy", f"{told} model was trained on"),
        (f"{tmp_path}/y/a.npy", f"it has the id of {tmp_path}/x/a.npy too; rename one of them"),
    ]
    none = open_features("rgb", f"{tmp_path}/b.npy", None, None, 1, Needed(3, "the 3 values of rgb"))
    assert none.ids == [] and len(none.faults) == 1


def test_values_of_several_types_become_one(tmp_path):
    source = save(tmp_path, a=np.ones((1, 2), np.float16), b=np.ones((1, 2), ">f4"), c=np.ones((1, 2), np.float16))()
    assert source.dtype == np.float32 and {source.read(video).dtype for video in range(3)} == {np.dtype(np.float32)}


def test_few_files_stay_open(tmp_path, monkeypatch):
    monkeypatch.setattr(files_source, "_OPEN", 2)
    for number in range(5):
        np.savez(tmp_path / f"{number}.npz", np.full((1, 2), number))
    found = open_features("rgb", str(tmp_path), None, None, 1)
    for video in (0, 1, 2, 0, 4, 3, 3, 1):
        assert found.read(video)[0, 0] == video
        assert sum(file._opened is not None for file in found._files) <= 2
    found.close()
    assert not any(file._opened for file in found._files)


def test_an_error_stays_whole_between_processes():
    error = pickle.loads(pickle.dumps(UnreadableFeature("a.npy, row 3", "why; what to do")))
    assert (type(error), error.where, str(error)) == (UnreadableFeature, "a.npy, row 3", "why; what to do")


@pytest.mark.parametrize(
    ("value", "text"),
    [(17, "17"), (17.0, "17"), ("017", "017"), (b"\xc3\xbc", "ü"), (None, ""), (float("nan"), ""), (1.5, "1.5")],
)
def test_ids_as_text(value, text):
    assert id_text(value) == text
