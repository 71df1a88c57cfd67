"""Features in files of every format: the same videos come back, and what cannot be read is named with its remedy."""

import errno
import os
import pickle
import re
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from fixtures.feature_files import WRITERS, Rows, Written, npy_bytes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.artifacts.hidden import is_hidden
from pipeline.config.errors import StageError
from pipeline.packing.sources.opening import look_into, open_features

VIDEOS = {
    id: np.random.default_rng(len(id)).normal(size=(n, 3)).astype(np.float32)
    for id, n in {"a": 4, "b.2": 1, "c d": 7, "z-1": 3, "ключ": 2}.items()
}


def opened(written: Written, name: str = "rgb", id_column: str | None = None):
    return open_features(name, written.pattern, written.rows, id_column, workers=1)


def assert_same(source, videos):
    assert source.faults == []
    assert sorted(source.ids) == sorted(videos)
    assert source.size == next(iter(videos.values())).shape[1]
    for number, id in enumerate(source.ids):
        values = source.read(number)
        assert values.dtype == source.dtype == next(iter(videos.values())).dtype
        assert source.lengths[number] == len(values)
        np.testing.assert_array_equal(values, videos[id])


@pytest.mark.parametrize("format", WRITERS)
def test_the_same_videos_in_every_format(tmp_path, format):
    source = opened(WRITERS[format](tmp_path, VIDEOS))
    assert source.ids == list(VIDEOS)
    assert_same(source, VIDEOS)
    files = source.files()
    assert {file for number in range(len(VIDEOS)) for file in source.files_of(number)} == set(files)
    assert files == sorted(set(files)) and all(file.is_file() for file in files)
    copy = pickle.loads(pickle.dumps(source))  # after it has opened its files
    for number in (4, 0, 2, 2, 1, 3):
        np.testing.assert_array_equal(copy.read(number), VIDEOS[copy.ids[number]])
        assert any(copy.where(number).startswith(str(file)) for file in files)
    copy.close()
    np.testing.assert_array_equal(copy.read(4), VIDEOS["ключ"])


@pytest.mark.parametrize("format", WRITERS)
def test_a_file_tells_whether_it_names_the_feature(tmp_path, format):
    WRITERS[format](tmp_path, VIDEOS)
    path = min(tmp_path.iterdir())
    by_name = ("npz a video", "npz with an id a frame", "npz of frames in any order", "HDF5 group a", "Parquet lists")
    by_name += ("Parquet values", "Parquet frames of fixed size", "tar with")
    assert look_into(path, "rgb", None).named == (format.startswith(by_name) and "only array" not in format)
    assert not look_into(path, "optical flow", None).named


ids_ = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12
).filter(lambda text: not is_hidden(text) and not is_hidden(f"{text}.npy") and "." not in text)
frames_ = st.tuples(
    st.sampled_from(["<f4", "<f2", "<f8", "u1", "<i2", "<u4", "<i8"]), st.integers(1, 5), st.integers(0, 99)
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(ids_, min_size=1, max_size=6, unique=True), kind=frames_, format=st.sampled_from(list(WRITERS)))
def test_any_ids_lengths_sizes_and_dtypes(tmp_path, ids, kind, format):
    dtype, size, seed = kind
    rng = np.random.default_rng(seed)
    videos = {id: rng.integers(0, 99, (rng.integers(1, 7), size)).astype(dtype) for id in ids}
    if "array a video" in format and len(videos) == 1:
        return  # then it is the file's
    if "Parquet frames" in format and len(videos) == sum(map(len, videos.values())):
        return
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        assert_same(opened(WRITERS[format](Path(folder), videos)), videos)


@pytest.mark.real_data
def test_features_that_people_have(shared_data):
    """As they lie in the folder of real data, against the library of each kind."""
    birds = shared_data / "own" / "birds" / "segments.h5"
    source = open_features("birds", str(birds), None, None, 1)
    assert (len(source.ids), int(source.lengths.sum()), source.size, source.faults) == (548, 10_232, 38, [])
    with h5py.File(birds) as file:
        for number in range(0, 548, 50):
            np.testing.assert_array_equal(source.read(number), file[source.ids[number]][()])
    vowels = open_features("lpc", f"{shared_data}/own/japanese_vowels/utterances/*.npz", None, None, 1)
    assert (len(vowels.ids), int(vowels.lengths.sum()), vowels.size, vowels.faults) == (640, 9961, 12, [])
    np.testing.assert_array_equal(vowels.read(0), np.load(vowels.files()[0])["lpc"])


# ------------------------------------------------------------------------------------------------ which files are read


def test_what_is_no_data_is_passed_over(tmp_path, monkeypatch):
    for name in ("a.npy", "sub/b", "sub/deep/c.bin"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        np.save((tmp_path / name).open("wb"), VIDEOS["a"])  # whatever the name ends with
    for name in (".d.npy", "__MACOSX/e.npy", "sub/._b", "sub/Thumbs.db"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"nothing of the kind")
    assert opened(Written(str(tmp_path))).ids == ["a", "b", "c"]
    assert opened(Written(f"{tmp_path}/**/*")).ids == ["a", "b", "c"]
    assert opened(Written(f"{tmp_path}/*")).ids == ["a"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert opened(Written("~/sub/*")).ids == ["b"]
    (tmp_path / "x[1].npy").write_bytes(npy_bytes(VIDEOS["a"]))
    assert opened(Written(f"{tmp_path}/x[1].npy")).ids == ["x[1]"]


def test_files_of_several_kinds_together(tmp_path):
    np.save(tmp_path / "b.npy", VIDEOS["b.2"])
    np.savez(tmp_path / "c.npz", VIDEOS["z-1"])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["one"] = VIDEOS["a"]
        file["two"] = VIDEOS["c d"]
    source = opened(Written(str(tmp_path)))
    assert source.ids == ["one", "two", "b", "c"] and source.lengths.tolist() == [4, 7, 1, 3]
    np.testing.assert_array_equal(source.read(3), VIDEOS["z-1"])


def test_many_files_are_looked_at_in_processes(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("pipeline.packing.sources.opening._MANY", 3)
    monkeypatch.setattr(
        "pipeline.packing.sources.opening.map_in_processes",
        lambda function, items, workers, at_once: (
            asked.append(workers) or map(pickle.loads(pickle.dumps(function)), items)
        ),
    )
    for id in VIDEOS:
        np.save(tmp_path / f"{id}.npy", VIDEOS[id])
    assert_same(open_features("rgb", str(tmp_path), None, None, 2), VIDEOS)
    open_features("rgb", f"{tmp_path}/a.npy", None, None, 2)
    assert asked == [2, 1]


def test_a_pattern_without_files_says_what_is_there(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.npy").write_bytes(b"")
    with pytest.raises(StageError, match=rf"rgb={tmp_path}/sab/\*: there is no such file; .* {tmp_path} holds sub"):
        opened(Written(f"{tmp_path}/sab/*"))
    with pytest.raises(StageError, match="there is no such file"):
        opened(Written(f"{tmp_path}/*"))


@pytest.mark.parametrize(
    ("content", "told"),
    {
        "empty": (b"", "empty.*make it again"),
        "text": (b"a,b\n1,2\n", r"a table in text \(CSV\), not npy, npz, HDF5, Parquet or tar; write"),
        "picture": (b"\xff\xd8\xff\xe0" + b"\0" * 99, "a picture.*extract its features"),
        "pickle": (pickle.dumps({"a": VIDEOS["a"]}), "a Python pickle, not npy"),
        "gzip": (b"\x1f\x8b" + b"\0" * 99, "gunzip"),
        "zip": (b"PK\x03\x04" + b"\0" * 99, "zip archive that is damaged.*copy or make it again"),
        "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        "noise": (b"\x01\x02" * 99, "of another kind, or damaged"),
        "noise of high bytes": (bytes(range(128, 256)) * 9, "of another kind, or damaged"),
        "hdf5 head": (b"\x89HDF\r\n\x1a\n" + b"\0" * 500, "cannot be read .*write or copy the file again"),
        "parquet head": (b"PAR1" + b"\0" * 500, "cannot be read .*write or copy the file again"),
        "tar head": (b"a" + b"\0" * 256 + b"ustar\x0000" + b"\0" * 500, "damaged.*write or copy the file again"),
    }.values(),
)
def test_files_of_other_kinds_are_named_and_the_others_read(tmp_path, content, told):
    (tmp_path / "a.npy").write_bytes(content)
    np.save(tmp_path / "b.npy", VIDEOS["a"])
    source = opened(Written(f"{tmp_path}/*"))
    ((where, reason),) = source.faults
    assert source.ids == ["b"] and where == str(tmp_path / "a.npy")
    assert re.search(told, reason, re.DOTALL)


def test_links_that_lead_nowhere_and_pipes_are_named(tmp_path):
    np.save(tmp_path / "b.npy", VIDEOS["a"])
    (tmp_path / "a.npy").symlink_to(tmp_path / "gone.npy")
    (tmp_path / "c.npy").symlink_to(tmp_path / "b.npy")
    os.mkfifo(tmp_path / "d.npy")
    source = opened(Written(f"{tmp_path}/*"))
    assert source.ids == ["b", "c"]
    assert [Path(where).name for where, _ in source.faults] == ["a.npy", "d.npy"]


def test_what_the_system_refuses_is_no_fault_of_the_file(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", VIDEOS["a"])
    source = opened(Written(str(tmp_path)))

    def refuse(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match=r"Too many open files: '.*a\.npy'"):
        source.read(0)
    with pytest.raises(OSError, match=r"Too many open files: '.*a\.npy'"):
        opened(Written(str(tmp_path)))


# --------------------------------------------------------------------------------------------------- the table of rows


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (Rows(id=["a", "b"]), r"3 rows \(\[3, 2, 4\]\), and 2 ids; each row must have an id"),
        (Rows(x=["a", "b", "c"], y=["d", "e", "f"]), "--rows: no column is named id; .*--id.*: x, y"),
        (Rows(), "no column is named id.*none"),
    ],
)
def test_tables_that_do_not_fit(tmp_path, rows, told):
    np.save(tmp_path / "a.npy", np.ones((3, 2, 4)))
    with pytest.raises(StageError, match=told):
        opened(Written(str(tmp_path), rows))


def test_the_column_of_ids_is_named_or_known(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 2, 4)))
    table = Rows(x=["a", "b"], y=["c", "d"], video_id=[7, 8.0], num_frames=[1, 2])
    assert opened(Written(str(tmp_path), table)).ids == ["7", "8"]
    assert opened(Written(str(tmp_path), table), id_column="y").ids == ["c", "d"]
    assert opened(Written(str(tmp_path), Rows(start=[0, 1], clip=["a", "b"]))).ids == ["a", "b"]


def test_files_whose_names_are_ids_of_the_table_are_videos_by_themselves(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 4)))
    np.save(tmp_path / "b.npy", np.ones((3, 4)))
    source = opened(Written(str(tmp_path), Rows(id=["a", "a", "a", "b", "b"])))
    assert source.ids == ["a", "b"] and source.lengths.tolist() == [2, 3]
    source = opened(Written(str(tmp_path), Rows(id=["x", "x", "y", "y", "y"])))
    assert source.ids == ["x", "y"] and source.lengths.tolist() == [2, 3]


def test_several_videos_without_ids_are_named_as_predict_names_them(tmp_path):
    np.savez(tmp_path / "new.npz", frames=np.ones((2, 3, 4)), num_frames=np.array([1, 3]))
    source = opened(Written(str(tmp_path)))
    assert source.ids == ["new.npz:0", "new.npz:1"] and source.lengths.tolist() == [1, 3]
    np.savez(tmp_path / "new.npz", frames=np.ones((2, 3, 4)))
    with pytest.raises(StageError, match=r"new\.npz, array frames: .*\[2, 3, 4\].*--rows, or write the ids \[2\]"):
        opened(Written(str(tmp_path)))
