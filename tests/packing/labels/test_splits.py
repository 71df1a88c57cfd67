"""Splits by column, by file and by labels, and groups, against a slow form."""

import csv
import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.errors import StageError
from pipeline.packing.labels.splits import Splits, read_splits
from pipeline.packing.tables.table import read_table

IDS = ["a", "b", "c", "d"]


def read(folder, content: str, labelled=IDS, splits: str | None = None, **flags) -> Splits:
    (folder / "labels.csv").write_text(content)
    if splits is not None:
        (folder / "splits.csv").write_text(splits)
        flags["file"] = folder / "splits.csv"
    return read_splits(read_table(folder / "labels.csv"), IDS, labelled, **flags)


VALUES = st.sampled_from(["", "train", "test", "validation", "fold 1"])
ROWS = st.lists(st.tuples(st.sampled_from([*IDS, "unknown"]), VALUES, st.sampled_from(["", "s", "t"])), min_size=1)


@given(rows=ROWS, labelled=st.sets(st.sampled_from(IDS)))
@settings(max_examples=150, deadline=None)
def test_splits_and_groups_are_as_a_slow_form_reads_them(tmp_path_factory, rows, labelled):
    rows = [("a", "train", ""), *rows]
    file = io.StringIO()
    csv.writer(file).writerows([("id", "Split", "site"), *rows])
    said = {
        what: {id: {row[1 + i] for row in rows if row[0] == id} - {""} for id in IDS}
        for i, what in enumerate(("split", "group"))
    }
    folder = tmp_path_factory.mktemp("splits")
    try:
        splits = read(folder, file.getvalue(), labelled, group_column="site")
    except StageError as error:
        if found := re.search(
            r"line (\d+): video '(.)' has (\w+) '(.+)', and '(.+)' in .*line (\d+); give it one", str(error)
        ):
            other, id, what, one, another, first = found.groups()
            assert len(said[what][id]) > 1 and int(first) < int(other)
            assert rows[int(other) - 2][0] == rows[int(first) - 2][0] == id
            column = ("split", "group").index(what) + 1
            assert (rows[int(other) - 2][column], rows[int(first) - 2][column]) == (one, another)
        else:
            lacking = [id for id in IDS if not said["split"][id] and id in labelled]
            assert lacking and f"{len(lacking)} labeled video" in str(error)
            assert ", ".join(map(repr, lacking)) in str(error)
        return
    assert all(len(found) < 2 for what in said.values() for found in what.values())
    scored = {split for id in labelled for split in said["split"][id]}
    rest = "unlabelled" if "test" in scored else "test"
    assert splits.of == {id: next(iter(said["split"][id]), rest) for id in IDS}
    assert splits.groups == {id: next(iter(said["group"][id]), id) for id in IDS}
    across = {group for group in splits.groups.values()
              if len({splits.of[id] for id in IDS if splits.groups[id] == group}) > 1}  # fmt: skip
    assert len(splits.remarks) == bool(across)
    for group in across:
        assert f"{group!r} (" in splits.remarks[0]


def test_without_splits_labelled_videos_are_trained_on(tmp_path):
    splits = read(tmp_path, "id,label\na,x\nb,y\n", ["a", "b"])
    assert splits.of == {"a": "train", "b": "train", "c": "test", "d": "test"}
    assert (splits.groups, splits.how) == (None, "train: the labeled videos; test: the others")
    assert read(tmp_path, "id,label\na,x\n").how == "train: all videos"
    assert read_splits(None, IDS, []).of == dict.fromkeys(IDS, "test")


@pytest.mark.parametrize("name", ["split", "Subset", "PARTITION", "set"])
def test_columns_are_found_by_their_names(tmp_path, name):
    splits = read(tmp_path, f"id,label,{name}\na,x,train\nb,x,test\nc,x,train\nd,x,train\n")
    assert splits.of == {"a": "train", "b": "test", "c": "train", "d": "train"}
    assert splits.how.startswith(f"column {name} of ")
    assert read(tmp_path, f"id,{name}\na,x\n", not_splits=[name]).how == "train: all videos"


def test_columns_are_named(tmp_path):
    content = "id,split,fold\na,train,1\nb,train,2\nc,,1\nd,,1\n"
    splits = read(tmp_path, content, split_column="fold")
    assert splits.of == {"a": "1", "b": "2", "c": "1", "d": "1"}


@pytest.mark.parametrize("content", ["id,split\na,test\nb,train\nz,test\n", "video;to\nb;train\na;test\n"])
def test_a_file_of_splits_overrides_the_column(tmp_path, content):
    splits = read(tmp_path, "name,split\na,train\nb,train\n", ["a", "b"], splits=content)
    assert splits.of == {"a": "test", "b": "train", "c": "unlabelled", "d": "unlabelled"}
    assert "splits.csv" in splits.how


def test_a_file_of_splits_may_hold_the_groups(tmp_path):
    splits = read(
        tmp_path, "id,label\na,x\n", ["a"], splits="id,split,site\na,train,s\nb,test,s\n", group_column="site"
    )
    assert splits.groups == {"a": "s", "b": "s", "c": "c", "d": "d"}
    assert splits.remarks == [
        "1 group has videos in more than one split, as the splits were given: 's' (test and train)"
    ]


def test_groups_need_no_splits(tmp_path):
    splits = read(tmp_path, "id,site\na,s\nb,s\nc,\n", ["a"], group_column="site")
    assert splits.groups == {"a": "s", "b": "s", "c": "c", "d": "d"}
    assert splits.remarks == []


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        ("id,split\na,train\nb,Holdout\n", {}, "line 3: split Holdout may be meant for the hold-out: write it "
         "holdout, or rename it"),
        ("id,split\na,../x\n", {}, "line 2: '../x' cannot name a split, which needs a plain name of at"),
        ("id,split\na,train\nb,Train\n", {}, "line 3: split Train and split train differ in case alone; write"),
        ("id,split,set\na,train,x\n", {}, "columns split and set may both hold splits; name one with --split-column"),
        ("id,x\na,train\n", {"split_column": "y"}, "--split-column: unknown column 'y'"),
        ("id,x\na,train\n", {"group_column": "y"}, "--group: unknown column 'y'"),
        ("id,x\na,train\n", {"splits": "id,k,l\na,x,y\n"}, "splits.csv: no column is called split, subset, partition"),
        ("id,x\na,train\n", {"splits": "a,train\nb,test\n"}, "the first line should name the columns, and 'a' in it"),
        ("id,x\na,train\n", {"splits": "id,split\na,train\na,test\n"}, "splits.csv, line 3: video 'a' has split"),
        ("id,x\na,train\n", {"splits": "id,split\na,train\n"}, "3 labeled videos have no split in column split: 'b', "
         "'c', 'd'; give each a split, such as train"),
        ("id,split\n" + "".join(f"a,s{i}\n" for i in range(101)), {}, "line 3: video 'a' has split 's1', and 's0' in"),
        ("id,split\n" + "".join(f"v{i},s{i}\n" for i in range(101)) + "a,s1\n", {}, "column split has 101 different"),
        ('{"id": "a", "split": ["train", "test"]}', {}, "column split holds lists; a video has one split"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_split_is_refused_with_the_remedy(tmp_path, content, flags, message):
    with pytest.raises(StageError) as error:
        read(tmp_path, content, **flags)
    assert message in str(error.value)


@pytest.mark.parametrize("flags", [{"split_column": "x"}, {"group_column": "x"}])
def test_a_column_needs_a_file(flags):
    with pytest.raises(StageError, match="x: there is no file of labels or splits that could hold it"):
        read_splits(None, IDS, [], **flags)


@pytest.mark.real_data
def test_the_published_split(shared_data):
    folder = shared_data / "own" / "japanese_vowels"
    ids = [path.stem for path in (folder / "utterances").iterdir()]
    splits = read_splits(read_table(folder / "utterances.csv"), ids, ids, group_column="speaker")
    assert sorted(splits.of.values()) == ["test"] * 370 + ["train"] * 270
    assert all(id.startswith(split) for id, split in splits.of.items())
    assert splits.remarks[0].startswith("9 groups have videos in more than one split")
