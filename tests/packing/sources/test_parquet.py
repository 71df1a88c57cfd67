"""Parquet from anybody: which column is the feature and which the id, and rows that cannot be videos."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.errors import StageError
from pipeline.packing.sources import parquet, parquet_columns
from pipeline.packing.sources.opening import open_features
from pipeline.packing.sources.source import UnreadableFeature


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.parquet"


def open_one(path, columns=None, id_column=None, **options):
    if columns is not None:
        pq.write_table(pa.table(columns), path, **options)
    return open_features("rgb", str(path), None, id_column, 1)


def frames(*counts):
    return [[[float(row), float(frame)] for frame in range(count)] for row, count in enumerate(counts)]


def test_which_column_is_the_id(path):
    rgb = frames(1, 2)
    assert open_one(path, {"rgb": rgb, "split": ["x", "y"], "id": [3, 4]}).ids == ["3", "4"]
    assert open_one(path, {"rgb": rgb, "label": [1, 2], "clip": ["x", "y"]}).ids == ["x", "y"]
    assert open_one(path, {"rgb": rgb, "label": ["a", "b"], "clip": ["x", "y"]}, "clip").ids == ["x", "y"]
    words = pa.array(["x", "y"]).dictionary_encode()
    assert open_one(path, {"rgb": rgb, "label": [0.5, 1.5], "clip": words}).ids == ["x", "y"]
    with pytest.raises(StageError, match=rf"{path}: no column is named id; name .* --id. .* are: label, clip"):
        open_one(path, {"rgb": rgb, "label": ["a", "b"], "clip": ["x", "y"]})
    with pytest.raises(StageError, match="there is no column no; name the column"):
        open_one(path, id_column="no")


def test_a_table_without_ids_is_one_video(path):
    assert open_one(path, {"rgb": frames(3)}).ids == ["a"]
    source = open_one(path, {"rgb": [[1.0, 2.0], [3.0, 4.0]]})
    assert source.ids == ["a"] and source.read(0).tolist() == [[1, 2], [3, 4]]
    with pytest.raises(StageError, match="no column names the ids of its 2 videos: add a column id"):
        open_one(path, {"rgb": frames(3, 1)})


def test_rows_of_one_vector(path):
    source = open_one(path, {"rgb": [[1.0, 2.0], [3.0, 4.0]], "id": ["a", "b"]})
    assert source.lengths.tolist() == [1, 1] and source.read(1).tolist() == [[3, 4]]


def test_tensors(path):
    kind = pa.fixed_shape_tensor(pa.float32(), (3, 2))
    values = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    storage = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 6)
    source = open_one(path, {"rgb": pa.ExtensionArray.from_storage(kind, storage), "id": ["a", "b"]})
    assert source.lengths.tolist() == [3, 3]
    np.testing.assert_array_equal(source.read(1), values[1])


HOSTILE = {
    "no list": ({"rgb": [1.0, 2.0], "id": ["a", "b"]}, r"no column rgb holds lists of numbers.*rgb \(double\)"),
    "lists of text": ({"rgb": [["x"]], "id": ["a"]}, "no column rgb holds lists of numbers; name the feature"),
    "two columns of lists": ({"x": [[1.0]], "y": [[1.0]], "id": ["a"]}, "no column rgb holds lists.*x .*y "),
    "lists too deep": ({"rgb": [[[[1.0]]]], "id": ["a"]}, "no column rgb holds lists"),
    "no rows": ({"rgb": pa.array([], pa.list_(pa.float32())), "id": pa.array([], pa.string())}, "no frames; extract"),
    "size nothing": ({"rgb": pa.array([[], []], pa.list_(pa.float32(), 0)), "id": ["a", "b"]}, "no values; extract"),
    "bool": ({"rgb": [[[True]]], "id": ["a"]}, "bool; they must be integers or floats: convert"),
    "lengths of no frames": ({"rgb": [[1.0], [1.0, 2.0]], "id": ["a", "b"]}, "lists of 1 to 2 values: add a column"),
    "two columns of one name": (
        pa.Table.from_arrays([pa.array([[1.0]]), pa.array([[1.0]]), pa.array(["a"])], names=["rgb", "rgb", "id"]),
        "two columns are named rgb: rename one",
    ),
}


@pytest.mark.parametrize(("columns", "told"), HOSTILE.values(), ids=HOSTILE)
def test_tables_that_hold_no_videos(path, columns, told):
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path)
    with pytest.raises(StageError, match=told) as error:
        open_one(path)
    assert str(path) in str(error.value)


ROWS = {
    "missing list": ({"rgb": [*frames(2, 1), None]}, "list is missing.*write it again"),
    "no frames": ({"rgb": [*frames(2, 1), []]}, "no frames; extract"),
    "no values": ({"rgb": [*frames(2, 1), [[], []]]}, "no values; extract"),
    "frames of unequal size": ({"rgb": [*frames(2, 1), [[1.0, 2.0], [3.0]]]}, "unequally many values.*again"),
    "missing frame": ({"rgb": [*frames(2, 1), [[1.0, 2.0], None]]}, "unequally many values"),
    "odd size": ({"rgb": [*frames(2, 1), [[1.0, 2.0, 3.0]]]}, "3 values, those of most videos 2 values.*again"),
    "no id": ({"rgb": frames(2, 1, 1), "id": ["a", "b", None]}, "id is empty; give"),
    "empty id": ({"rgb": frames(2, 1, 1), "id": ["a", "b", ""]}, "id is empty; give"),
    "num_frames of a half": ({"rgb": [[1.0, 2.0]] * 3, "num_frames": [1, 1, 1.5]}, "num_frames does not fit"),
    "num_frames of none": ({"rgb": [[1.0, 2.0]] * 3, "num_frames": [1, 1, None]}, "num_frames does not fit"),
    "num_frames below 0": ({"rgb": [[1.0, 2.0]] * 3, "num_frames": [1, 1, -1]}, "num_frames does not fit"),
    "values that are no frames": ({"rgb": [[1.0, 2.0]] * 2 + [[1.0] * 7], "num_frames": [1, 1, 3]}, "does not fit"),
    "no values, num_frames": ({"rgb": [[1.0, 2.0]] * 2 + [[]], "num_frames": [1, 1, 1]}, "does not fit"),
}


@pytest.mark.parametrize(("columns", "told"), ROWS.values(), ids=ROWS)
def test_a_row_that_is_no_video_is_named_and_the_others_read(path, columns, told):
    source = open_one(path, {"id": ["a", "b", "c"], **columns})
    ((where, reason),) = source.faults
    assert source.ids == ["a", "b"] and where == f"{path}, row 2" and re.search(told, reason)
    assert source.read(1).shape == (1, 2)


READ = {
    "another number of frames": ({"rgb": frames(2, 3), "num_frames": [2, 2]}, "3 frames of 2 to 2 values, not 2"),
    "missing value": ({"rgb": [[[1.0]], [[None]]]}, r"missing \(null\)"),
    "missing list": ({"rgb": [[[1.0]], None], "num_frames": [1, 1]}, "list is missing"),
    "frames of unequal size": ({"rgb": [[[1.0]], [[1.0], [2.0, 3.0]]], "num_frames": [1, 2]}, "of 1 to 2 values"),
    "a frame of another size": ({"rgb": [[1.0], [2.0, 3.0]], "id": ["a", "a"]}, "other lengths"),
}


@pytest.mark.parametrize(("columns", "told"), READ.values(), ids=READ)
def test_what_is_seen_only_when_it_is_read(path, columns, told):
    source = open_one(path, {"id": ["a", "b"], **columns})
    with pytest.raises(UnreadableFeature, match=told) as error:
        source.read(len(source.ids) - 1)
    assert error.value.where.startswith(str(path)) and "again" in str(error.value)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.97])
def test_files_that_are_cut_off(path, part):
    open_one(path, {"rgb": frames(*range(1, 50)), "id": list(map(str, range(49)))})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(StageError, match=rf"{path}: the file cannot be read .*again"):
        open_one(path)


def test_a_page_that_is_damaged_is_found_when_it_is_read(path):
    rng = np.random.default_rng(0)
    values = [rng.normal(size=300).tolist() for _ in range(40)]
    columns = {"rgb": values, "num_frames": [3] * 40, "id": list(map(str, range(40)))}
    pq.write_table(pa.table(columns), path, write_page_checksum=True, compression="zstd", use_dictionary=False)
    source = open_one(path)
    content = bytearray(path.read_bytes())
    content[30_000:30_200] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(UnreadableFeature, match=r"cannot be read .*again"):
        for video in range(40):
            source.read(video)


@pytest.mark.parametrize("row_group", [7, 1000])
def test_a_batch_at_a_time_is_held(path, monkeypatch, row_group):
    """Also in a single group of rows, to go back in which is to begin it anew."""
    monkeypatch.setattr(parquet_columns, "BATCH_BYTES", 64)
    rows = frames(*(1 + row % 4 for row in range(60)))
    source = open_one(path, {"rgb": rows, "id": list(map(str, range(60)))}, row_group_size=row_group)
    for video in (*range(60), 3, 59, 58, 0):
        assert source.read(video).tolist() == rows[video]
    (file,) = source._files
    assert len(file._column._opened.values) <= 4


def test_frames_whose_ids_are_not_together_are_refused_where_that_would_be_slow(path, monkeypatch):
    columns = {"rgb": [[1.0], [2.0], [3.0]], "id": ["a", "b", "a"]}
    assert open_one(path, columns).read(0).tolist() == [[1], [3]]
    monkeypatch.setattr(parquet, "BATCH_BYTES", 16)
    with pytest.raises(StageError, match=r"'a' do not follow each other.*sort the rows by id"):
        open_one(path)


def test_a_column_that_is_to_become_far_more_than_it_is(path, monkeypatch):
    monkeypatch.setattr(parquet_columns, "_LARGE", 1000)
    with pytest.raises(StageError, match="column rgb is to have 8,000,000 bytes, and has far fewer"):
        open_one(path, {"rgb": [[0.0] * 1_000_000], "id": ["a"], "num_frames": [10]})
