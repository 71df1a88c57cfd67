"""The index: rows come back as they went in, splits are stable, and what is odd is counted."""

import dataclasses
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import ConfigError, DatasetConfig, FeatureConfig, to_dict
from pipeline.config.errors import StageError
from pipeline.inputs.index import Index, Source, take_lists
from pipeline.inputs.index.build import write_index
from pipeline.inputs.index.check import check_shard
from pipeline.inputs.index.ids import hash_ids, is_held_out
from pipeline.inputs.index.resume import IndexedReports
from pipeline.inputs.index.sources import parse_sources
from pipeline.inputs.records import tfrecord
from pipeline.inputs.records.encoding import encode_sequence_example

DATASET = DatasetConfig("small", (FeatureConfig("rgb", 4),), 4000, holdout_percent=30)
AWKWARD = [
    "1e10",
    "0e12",
    "NaN",
    "nan",
    "true",
    "-abc",
    "_abc",
    "0012",
    "007A",
    "--aaILOrkII",
    "aDoE",
    "Adoe",
    "ключ",
    " ",
]


def holdout(id: str, percent: float) -> bool:
    return bool(is_held_out(hash_ids([id]), percent)[0])


def record(id: str, labels: list[int], count: int = 3, fill: int = 7) -> bytes:
    context = {"id": id, "labels": np.array(labels, np.int64)}
    return encode_sequence_example(context, {"rgb": np.full((count, 4), fill, np.uint8)})


def shard(path, payloads) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        tfrecord.write_records(file, payloads)


def indexed(folder, sources: list[Source], dataset: DatasetConfig = DATASET, root=None) -> tuple[dict, Index]:
    folder.mkdir(parents=True)
    reports = (check_shard(source.path, dataset) for source in sources)
    return write_index(folder, dataset, sources, reports, root), Index.open(folder)


@pytest.fixture
def sources(tmp_path) -> list[Source]:
    """Two shards to train on, whose names differ by case; one to score, without labels."""
    raw = tmp_path / "raw"
    shard(raw / "train" / "aB.tfrecord", [record(id, [i, 3999], i + 1) for i, id in enumerate(AWKWARD)])
    shard(raw / "train" / "ab.tfrecord", [record(f"v{i}", [i] * (i % 3)) for i in range(40)])
    shard(raw / "test" / "-_.tfrecord", [record(id, []) for id in ("t1", "t0")])
    paths = sorted(raw.glob("*/*.tfrecord"))
    assert len(paths) == 3
    return [Source(path, path.parent.name) for path in paths]


def test_every_row_leads_to_its_record(tmp_path, sources):
    summary, index = indexed(tmp_path / "index", sources)
    assert index.dataset == DATASET and index.folder == tmp_path / "index"
    assert index.paths == [source.path for source in sources]
    assert index.shard_sizes.tolist() == [source.path.stat().st_size for source in sources]
    rows = np.concatenate([index.rows(split) for split in index.splits])
    assert sorted(rows.tolist()) == list(range(56)) and rows.dtype == np.int64
    ids = index.ids_of(rows)
    assert sorted(ids) == sorted([*AWKWARD, *[f"v{i}" for i in range(40)], "t0", "t1"])
    values, offsets = index.labels_of(rows)
    assert values.dtype == np.int32 and offsets.dtype == np.int64 and len(offsets) == len(rows) + 1
    for row, id, start, stop in zip(rows, ids, offsets, offsets[1:]):
        data = index.paths[index.shard[row]].read_bytes()
        payload = data[index.offset[row] : index.offset[row] + index.length[row]]
        labels = values[start:stop].tolist()
        if id.startswith("v"):
            number = int(id[1:])
            assert labels == [number] * (number % 3 > 0)  # repeated labels count once
            assert payload == record(id, [number] * (number % 3))
        else:
            expected = [AWKWARD.index(id), 3999] if id in AWKWARD else []
            assert labels == expected
            assert index.num_frames[row] == (AWKWARD.index(id) + 1 if id in AWKWARD else 3)
            assert payload == record(id, expected, index.num_frames[row])
    types = [getattr(index, name).dtype.name for name in ("shard", "offset", "length", "num_frames")]
    assert types == ["int32", "int64", "int32", "int32"]
    assert summary == json.loads((tmp_path / "index" / "dataset.json").read_text())


def test_splits(tmp_path, sources):
    summary, index = indexed(tmp_path / "index", sources)
    train, held = set(index.ids_of(index.rows("train"))), set(index.ids_of(index.rows("holdout")))
    assert held == {id for id in train | held if holdout(id, 30)} and len(train | held) == 54
    assert index.ids_of(index.rows("test")) == ["t1", "t0"]  # in the file's order
    assert index.splits == summary["counts"] == {"test": 2, "train": len(train), "holdout": len(held)}
    assert index.scored_splits() == ["holdout", "test"]
    assert index.labeled("train") and index.labeled("holdout") and not index.labeled("test")
    for ask in (index.rows, index.labeled):
        with pytest.raises(
            ConfigError, match=r"unknown split 'tests'. Did you mean test\? There are: train, holdout, test"
        ):
            ask("tests")


def test_no_holdout(tmp_path, sources):
    _, index = indexed(tmp_path / "index", sources, dataclasses.replace(DATASET, holdout_percent=0))
    assert index.splits == {"test": 2, "train": 54, "holdout": 0}
    assert len(index.rows("holdout")) == 0 and index.scored_splits() == ["test"]


def test_several_splits_to_train_on(tmp_path, sources):
    other = dataclasses.replace(DATASET, train_splits=("train", "test"))
    _, index = indexed(tmp_path / "index", sources, other)
    assert list(index.splits) == ["train", "holdout"] and sum(index.splits.values()) == 56
    with pytest.raises(ConfigError, match="split train: the name is reserved for what is made of"):
        write_index(tmp_path, dataclasses.replace(DATASET, train_splits=("test",)), sources, [])


def test_holdout_is_what_it_always_was():
    """Literal: another set would mix training videos into the hold-out of models that exist already."""
    ids = ["aDoE", "1e10", "NaN", "-abc", "0012", "true", "007A", "PSal", "klal", "fZal", "zzzz", "--aaILOrkII"]
    assert {id for id in ids if holdout(id, 30)} == {"PSal", "klal", "zzzz", "--aaILOrkII"}
    assert {id for id in ids if holdout(id, 10)} == {"--aaILOrkII"}
    assert not any(holdout(id, 0) for id in ids)


@pytest.mark.parametrize("percent", [2, 10, 50])
def test_holdout_has_its_share(percent):
    count, share = 50_000, percent / 100
    held = sum(holdout(f"video {i}", percent) for i in range(count))
    assert abs(held - count * share) < 4 * (count * share * (1 - share)) ** 0.5


def test_duplicates_and_leakage(tmp_path):
    raw = tmp_path / "raw"
    shard(raw / "0.tfrecord", [record("a", [1]), record("b", [2]), record("a", [3])])
    shard(raw / "1.tfrecord", [record("b", [4]), record("c", [5])])
    shard(raw / "2.tfrecord", [record("c", [6]), record("A", [7])])
    splits = ["train", "train", "test"]
    sources = [Source(raw / f"{i}.tfrecord", split) for i, split in enumerate(splits)]
    summary, index = indexed(tmp_path / "index", sources, dataclasses.replace(DATASET, holdout_percent=0))
    assert index.splits == {"train": 3, "holdout": 0, "test": 2}
    assert index.ids_of(np.arange(5)) == ["a", "b", "c", "c", "A"]
    assert index.labels_of(np.arange(5))[0].tolist() == [1, 2, 5, 6, 7]  # the first record of each counts
    assert summary["duplicates"]["count"] == 2
    first = summary["duplicates"]["first"]
    assert [(entry["id"], entry["split"], entry["file"]) for entry in first] == [
        ("a", "train", str(raw / "0.tfrecord")),
        ("b", "train", str(raw / "1.tfrecord")),
    ]
    assert summary["leakage"] == {"count": 1, "first": [{"id": "c", "splits": ["train", "test"]}]}


def test_a_split_called_holdout_takes_the_place_of_the_hash(tmp_path):
    """All other videos are trained on; those in both are told, and counted in each."""
    ids = [f"v{number}" for number in range(40)]
    assert any(holdout(id, 30) for id in ids[:30])
    for split, own in {"train": ids[:30], "holdout": ids[28:36], "test": ids[35:]}.items():
        shard(tmp_path / split / "a.tfrecord", [record(id, [1]) for id in own])
    sources = parse_sources([f"{split}={tmp_path}/{split}" for split in ("test", "holdout", "train")])
    for dataset in (DATASET, dataclasses.replace(DATASET, group_key="site")):
        summary, index = indexed(tmp_path / f"index{dataset.group_key}", sources, dataset)
        assert index.splits == {"train": 30, "holdout": 8, "test": 5}
        for split, expected in {"train": ids[:30], "holdout": ids[28:36], "test": ids[35:]}.items():
            assert index.ids_of(index.rows(split)) == expected
        assert index.scored_splits() == ["holdout", "test"] and index.other_splits() == ["test"]
        leaks = [{"id": id, "splits": ["train", "holdout"]} for id in ("v28", "v29")]
        assert summary["leakage"] == {"count": 2, "first": leaks}
    again = IndexedReports(tmp_path / "index", DATASET, None)
    (tmp_path / "again").mkdir()
    reports = again.reports([source.path for source in sources])
    assert write_index(tmp_path / "again", DATASET, sources, reports) == indexed(tmp_path / "new", sources)[0]


def test_a_hold_out_alone_is_scored(tmp_path):
    shard(tmp_path / "a.tfrecord", [record("a", [1]), record("b", [2])])
    _, index = indexed(tmp_path / "index", [Source(tmp_path / "a.tfrecord", "holdout")])
    assert index.splits == {"holdout": 2} and index.holdout_labeled and not index.has_training


def test_labels_that_are_not_known_and_videos_that_have_none(tmp_path):
    """Without the key they are neither trained on nor held out; with an empty list they are like any other."""
    empty = lambda n: record(f"e{n}", [])  # noqa: E731
    lacking = lambda n: encode_sequence_example({"id": f"u{n}"}, {"rgb": np.zeros((2, 4), np.uint8)})  # noqa: E731
    payloads = [record("a", [1, 2]), empty(0), lacking(0), record("b", [3]), lacking(1), empty(1)]
    for split in ("train", "test"):
        shard(tmp_path / f"{split}.tfrecord", payloads)
    sources = [Source(tmp_path / f"{split}.tfrecord", split) for split in ("train", "test")]
    summary, index = indexed(tmp_path / "index", sources)
    held = [id for id in ("a", "e0", "b", "e1") if holdout(id, 30)]
    assert index.splits == {"train": 4 - len(held), "holdout": len(held), "test": 6}
    assert summary["labelled"]["train"] + summary["labelled"]["holdout"] == 4 and summary["labelled"]["test"] == 4
    assert summary["unlabelled"]["count"] == 2 and summary["quarantined"]["count"] == 0
    assert [entry["id"] for entry in summary["unlabelled"]["first"]] == ["u0", "u1"]
    test = index.rows("test")
    assert index.labels_known(test).tolist() == [True, True, False, True, False, True]
    values, offsets = index.labels_of(test)
    assert values.tolist() == [1, 2, 3] and np.diff(offsets).tolist() == [2, 0, 0, 1, 0, 0]
    left_out = pq.read_table(tmp_path / "index" / "left_out.parquet").to_pylist()
    assert [(row["id"], row["labels"]) for row in left_out] == [("u0", None), ("u1", None)]
    assert {row["reason"] for row in left_out} == {"it is to be trained on or held out, and has no labels"}
    again = IndexedReports(tmp_path / "index", DATASET, None)
    (tmp_path / "again").mkdir()
    rebuilt = write_index(tmp_path / "again", DATASET, sources, again.reports([source.path for source in sources]))
    assert rebuilt == summary
    for name in ("index.parquet", "left_out.parquet"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "index" / name).read_bytes()
    shard(tmp_path / "test.tfrecord", [payload if n != 1 else lacking(9) for n, payload in enumerate(payloads)])
    assert indexed(tmp_path / "other", sources)[0]["labelled"]["test"] == 3


def test_a_split_of_empty_lists_has_nothing_to_score(tmp_path):
    shard(tmp_path / "a.tfrecord", [record("a", []), record("b", [])])
    _, index = indexed(tmp_path / "index", [Source(tmp_path / "a.tfrecord", "test")])
    assert not index.labeled("test")


def test_the_digest_tells_no_labels_from_unknown_ones_where_both_are(tmp_path):
    """A shard of either has the digest that it had before there was a difference."""
    shard(tmp_path / "a.tfrecord", [record("a", []), record("b", []), record("c", [])])
    source = Source(tmp_path / "a.tfrecord", "test")
    report, digests = check_shard(source.path, DATASET), []
    for labeled in ([True] * 3, [False] * 3, [True, False, True], [True, True, False]):
        written = dataclasses.replace(report, labeled=np.array(labeled))
        digests.append(write_index(tmp_path, DATASET, [source], [written])["digest"])
    assert digests[0] == digests[1] and len(set(digests)) == 3


def test_an_index_of_narrow_labels_is_read_as_before(tmp_path, sources):
    _, index = indexed(tmp_path / "index", sources)
    path = tmp_path / "index" / "index.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index("labels")
    narrow = pa.field("labels", pa.list_(pa.int16()))
    pq.write_table(table.set_column(place, narrow, table["labels"].cast(narrow.type)), path)
    older, rows = Index.open(tmp_path / "index"), np.arange(56)
    assert older.labels_of(rows)[0].tolist() == index.labels_of(rows)[0].tolist()
    assert older.labels_of(rows)[0].dtype == np.int32


def test_labels_of_a_hundred_thousand_classes(tmp_path):
    dataset = dataclasses.replace(DATASET, num_classes=100_000, holdout_percent=0)
    shard(tmp_path / "a.tfrecord", [record("a", [99_999, 0, 32_768]), record("b", [65_536])])
    summary, index = indexed(tmp_path / "index", [Source(tmp_path / "a.tfrecord", "train")], dataset)
    assert index.labels_of(np.arange(2))[0].tolist() == [99_999, 0, 32_768, 65_536]
    assert summary["statistics"]["videos_a_label"]["train"] == {"0": 1, "32768": 1, "65536": 1, "99999": 1}


GROUPED = dataclasses.replace(DATASET, group_key="channel")


def of_group(id: str, group: bytes | int | None, labels=(1,)) -> bytes:
    context = {"id": id, "labels": np.array(labels)} | ({} if group is None else {"channel": group})
    context = {key: np.array([value]) if isinstance(value, int) else value for key, value in context.items()}
    return encode_sequence_example(context, {"rgb": np.zeros((2, 4), np.uint8)})


def test_a_group_is_on_one_side_of_the_hold_out(tmp_path):
    """Of strings, of numbers, and of videos that have none, which are told by their ids."""
    groups = [b"c%d" % (n % 7) if n < 60 else n % 5 if n < 120 else None for n in range(180)]
    for number in range(2):
        shard(tmp_path / f"{number}.tfrecord", [of_group(f"v{n}", groups[n]) for n in range(number, 180, 2)])
    sources = [Source(tmp_path / f"{number}.tfrecord", "train") for number in range(2)]
    shard(tmp_path / "t.tfrecord", [of_group(f"v{n}", None) for n in range(180)])
    sources.append(Source(tmp_path / "t.tfrecord", "test"))
    summary, index = indexed(tmp_path / "index", sources, GROUPED)
    held = set(index.ids_of(index.rows("holdout")))
    named = [
        f"v{n}" if group is None else group.decode() if isinstance(group, bytes) else str(group)
        for n, group in enumerate(groups)
    ]
    assert held == {f"v{n}" for n in range(180) if holdout(named[n], 30)}
    assert 0 < len(held) < 180 and summary["digest"] != indexed(tmp_path / "single", sources)[0]["digest"]
    for leak in summary["leakage"]["first"]:
        assert leak["splits"] == ["holdout" if leak["id"] in held else "train", "test"]
    rebuilt = IndexedReports(tmp_path / "index", GROUPED, None).reports([source.path for source in sources])
    (tmp_path / "again").mkdir()
    assert write_index(tmp_path / "again", GROUPED, sources, rebuilt) == summary


FOLDED = dataclasses.replace(GROUPED, folds=4)


@pytest.fixture
def grouped(tmp_path) -> list[Source]:
    """180 videos in two shards to train on: of seven channels, of five numbers, and 60 of none; and two to test."""
    groups = [b"c%d" % (n % 7) if n < 60 else n % 5 if n < 120 else None for n in range(180)]
    for number in range(2):
        shard(tmp_path / f"{number}.tfrecord", [of_group(f"v{n}", groups[n]) for n in range(number, 180, 2)])
    shard(tmp_path / "t.tfrecord", [of_group("t", b"c1"), of_group("v0", None)])
    return [
        *(Source(tmp_path / f"{number}.tfrecord", "train") for number in range(2)),
        Source(tmp_path / "t.tfrecord", "t"),
    ]


def test_folds_hold_every_training_video_once_and_whole_groups(tmp_path, grouped):
    summary, index = indexed(tmp_path / "index", grouped, FOLDED)
    assert index.folds == 4 and index.splits == {"train": 180, "holdout": 180, "t": 2}
    assert index.other_splits() == ["t"] and index.scored_splits() == ["holdout", "t"] and index.holdout_labeled
    assert summary["counts"] == {"train": 180, "holdout": 0, "t": 2} and summary["leakage"]["first"][0]["id"] == "v0"
    assert summary["folds"] == {"videos": [45, 45, 45, 45], "groups": 72}
    everything = index.rows("train").tolist()
    assert index.rows("holdout").tolist() == everything and len(everything) == 180
    held = []
    for number in range(1, 5):
        view = index.fold(number)
        out, rest = view.rows("holdout").tolist(), view.rows("train").tolist()
        assert sorted(out + rest) == everything and len(out) == summary["folds"]["videos"][number - 1]
        assert (view.folds, view.held_out, view.splits["train"], view.splits["holdout"]) == (0, number, 135, 45)
        assert view.rows("t").tolist() == index.rows("t").tolist() and view.holdout_labeled
        assert (index.fold_of(np.array(out)) == number).all() and view.digest not in (index.digest, *map(str, held))
        held.append(set(view.ids_of(view.rows("holdout"))))
    assert (index.fold_of(index.rows("t")) == 0).all()
    for group in range(7):
        assert sum(bool(out & {f"v{n}" for n in range(60) if n % 7 == group}) for out in held) == 1
    for group in range(5):
        assert sum(bool(out & {f"v{n}" for n in range(60, 120) if n % 5 == group}) for out in held) == 1
    assert len({index.fold(number).digest for number in range(1, 5)} | {index.digest}) == 5
    with pytest.raises(ConfigError, match=r"index has 4 folds; there is no fold 5"):
        index.fold(5)
    rebuilt = IndexedReports(tmp_path / "index", FOLDED, None).reports([source.path for source in grouped])
    (tmp_path / "again").mkdir()
    assert write_index(tmp_path / "again", FOLDED, grouped, rebuilt) == summary


def test_without_folds_the_index_is_what_it_was(tmp_path, grouped):
    """Its digest, its columns and its summary; with folds they are others."""
    summary, index = indexed(tmp_path / "index", grouped, GROUPED)
    assert index.folds == 0 and "folds" not in summary and "folds" not in summary["dataset"]
    assert "fold" not in pq.read_schema(tmp_path / "index" / "index.parquet").names
    assert (index.fold_of(index.rows("train")) == 0).all()
    with pytest.raises(ConfigError, match="index has 0 folds"):
        index.fold(1)
    digests = {
        indexed(tmp_path / str(folds), grouped, dataclasses.replace(GROUPED, folds=folds))[1].digest for folds in (2, 3)
    }
    assert len(digests | {index.digest}) == 3


def test_folds_that_are_damaged_are_refused(tmp_path, grouped):
    indexed(tmp_path / "index", grouped, FOLDED)
    path = tmp_path / "index" / "index.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("fold")
    for values in ([5] * len(table), [0] * len(table), None):
        column = None if values is None else pa.array(values, pa.int8())
        damaged = table.drop_columns(["fold"]) if column is None else table.set_column(place, "fold", column)
        pq.write_table(damaged, path, write_page_checksum=True)
        with pytest.raises(StageError, match="holds no usable index"):
            Index.open(tmp_path / "index")


def test_folds_take_the_place_of_a_split_holdout(tmp_path, grouped):
    sources = [*grouped[:1], dataclasses.replace(grouped[1], split="holdout")]
    with pytest.raises(
        ConfigError, match=r"dataset.folds is 4, and there is a split holdout: .*--raw train=DIR_OR_GLOB"
    ):
        write_index(tmp_path, FOLDED, sources, [])


def test_an_index_of_nothing_to_train_on_has_no_folds(tmp_path, grouped):
    _, index = indexed(tmp_path / "index", grouped[2:], FOLDED)
    assert index.folds == 0 and index.splits == {"t": 2}


def test_what_is_no_group_is_quarantined(tmp_path):
    several = encode_sequence_example(
        {"id": "a", "labels": [1], "channel": [b"a", b"b"]}, {"rgb": np.zeros((2, 4), np.uint8)}
    )
    shard(tmp_path / "a.tfrecord", [several, of_group("b", b"\xff")])
    summary, _ = indexed(tmp_path / "index", [Source(tmp_path / "a.tfrecord", "test")], GROUPED)
    assert summary["counts"] == {"test": 1}
    assert "channel is a bytes_list of several values" in summary["quarantined"]["first"][0]["reason"]


def test_what_is_quarantined_is_counted_and_the_first_listed(tmp_path):
    shard(tmp_path / "a.tfrecord", [record("good", [1]), *[record(f"bad{i}", [4000]) for i in range(130)]])
    sources = [Source(tmp_path / "a.tfrecord", "train"), Source(tmp_path / "missing.tfrecord", "train")]
    summary, index = indexed(tmp_path / "index", sources)
    assert sum(index.splits.values()) == 1
    assert summary["quarantined"]["count"] == 131 and len(summary["quarantined"]["first"]) == 100
    entry = summary["quarantined"]["first"][0]
    assert entry["file"] == str(tmp_path / "a.tfrecord") and entry["offset"] > 0
    assert entry["reason"] == "video 'bad0': label 4000 is outside 0..3999, classes count from 0"
    assert [shard["records"] for shard in summary["shards"]] == [131, 0]


def test_an_index_of_nothing(tmp_path):
    (tmp_path / "a.tfrecord").touch()
    _, index = indexed(tmp_path / "index", [Source(tmp_path / "a.tfrecord", "test")])
    assert index.splits == {"test": 0} and len(index.rows("test")) == 0 and not index.labeled("test")
    assert index.ids_of(index.rows("test")) == [] and index.labels_of(index.rows("test"))[1].tolist() == [0]


def test_reports_must_be_those_of_the_sources(tmp_path, sources):
    reports = [check_shard(source.path, DATASET) for source in sources]
    with pytest.raises(ValueError, match="report 0 is about"):
        write_index(tmp_path, DATASET, sources, reports[::-1])
    with pytest.raises(ValueError, match="shorter"):
        write_index(tmp_path, DATASET, sources, reports[:2])


def test_labels_must_fit(tmp_path):
    with pytest.raises(ConfigError, match="num-classes"):
        write_index(tmp_path, dataclasses.replace(DATASET, num_classes=100_001), [], [])


def test_rows_spread_over_row_groups(tmp_path, sources, monkeypatch):
    _, whole = indexed(tmp_path / "whole", sources)
    monkeypatch.setattr("pipeline.inputs.index.tables.ROWS_PER_GROUP", 10)
    _, parts = indexed(tmp_path / "parts", sources)
    assert pq.ParquetFile(tmp_path / "parts" / "index.parquet").num_row_groups > 1
    assert parts.digest == whole.digest
    rows = np.random.default_rng(0).permutation(56)
    assert parts.ids_of(rows) == whole.ids_of(rows)
    assert parts.labels_of(rows)[0].tolist() == whole.labels_of(rows)[0].tolist()
    for split in whole.splits:
        assert parts.rows(split).tolist() == whole.rows(split).tolist()


# ------------------------------------------------------------------------------------------------------ paths, digest


def test_a_tree_that_moves_keeps_its_index(tmp_path, sources):
    moved = [Source(tmp_path / "a" / "raw" / s.path.relative_to(tmp_path / "raw"), s.split) for s in sources]
    shutil.copytree(tmp_path / "raw", tmp_path / "a" / "raw")
    summary, here = indexed(tmp_path / "a" / "index", moved, root=tmp_path / "a")
    assert [entry["path"] for entry in summary["shards"]] == [
        "raw/test/-_.tfrecord",
        "raw/train/aB.tfrecord",
        "raw/train/ab.tfrecord",
    ]
    assert here.paths == [source.path for source in moved]
    (tmp_path / "a").rename(tmp_path / "b")
    there = Index.open(tmp_path / "b" / "index")
    assert there.paths[0] == tmp_path / "b" / "raw" / "test" / "-_.tfrecord" and there.paths[0].exists()
    assert there.digest == here.digest


def test_shards_outside_the_root_stay_absolute(tmp_path, sources):
    _, index = indexed(tmp_path / "index", sources, root=tmp_path / "index")
    assert index.paths == [source.path for source in sources]


def test_the_digest_is_of_the_content_alone(tmp_path, sources):
    _, index = indexed(tmp_path / "one", sources)
    copies = [Source(tmp_path / "copy" / f"{i}.tfrecord", source.split) for i, source in enumerate(sources)]
    (tmp_path / "copy").mkdir()
    for source, copy in zip(sources, copies):
        shutil.copy(source.path, copy.path)
    assert indexed(tmp_path / "two", copies)[1].digest == index.digest
    digests = {index.digest}
    payloads = [bytes(found.payload) for found in tfrecord.scan_records(copies[0].path)]
    # another frame, another id, another label: each as long as what was there before
    for number, changed in enumerate([record("t1", [], fill=8), record("t2", []), record("t1", [1])]):
        shard(copies[0].path, [changed, payloads[1]])
        digests.add(indexed(tmp_path / f"changed{number}", copies)[1].digest)
    shard(copies[0].path, payloads)
    for number, change in enumerate([{"num_classes": 3999 + 2}, {"holdout_percent": 40.0}]):
        digests.add(indexed(tmp_path / f"other{number}", copies, dataclasses.replace(DATASET, **change))[1].digest)
    assert len(digests) == 6


def test_what_the_preset_declares_is_noted_and_is_not_in_the_digest(tmp_path, sources):
    declared = dataclasses.replace(DATASET, holdout_percent=5)
    reports = [check_shard(source.path, DATASET) for source in sources]
    with_it, without = tmp_path / "with", tmp_path / "without"
    with_it.mkdir()
    without.mkdir()
    summary = write_index(with_it, DATASET, sources, reports, declared=declared)
    assert Index.open(with_it).summary["declared"] == to_dict(declared) and Index.open(with_it).dataset == DATASET
    plain = write_index(without, DATASET, sources, reports)
    assert plain["declared"] == plain["dataset"] and plain["digest"] == summary["digest"]


# -------------------------------------------------------------------------------------------------------------- damage


def test_a_missing_or_damaged_index_names_the_remedy(tmp_path, sources):
    folder = tmp_path / "index"
    indexed(folder, sources)
    rows, summary = (folder / "index.parquet").read_bytes(), (folder / "dataset.json").read_text()
    values = json.loads(summary)
    damages = {
        "index.parquet": [b"", rows[:-20], rows[: len(rows) // 2], b"text"],
        "dataset.json": [
            b"",
            b"[]",
            summary[:100].encode(),
            json.dumps({key: value for key, value in values.items() if key != "digest"}).encode(),
            json.dumps(values | {"counts": {"train": 3}}).encode(),
            json.dumps(values | {"dataset": values["dataset"] | {"nonsense": 1}}).encode(),
        ],
    }
    for name, versions in damages.items():
        whole = (folder / name).read_bytes()
        for damaged in versions:
            (folder / name).write_bytes(damaged)
            with pytest.raises(
                StageError, match=r"index holds no usable index \(.+\): run `python -m pipeline.ingest`"
            ):
                Index.open(folder)
        (folder / name).unlink()
        with pytest.raises(StageError, match="run `python -m pipeline"):
            Index.open(folder)
        (folder / name).write_bytes(whole)
    Index.open(folder)


def test_a_flipped_bit_in_a_page_is_found(tmp_path, sources):
    folder = tmp_path / "index"
    indexed(folder, sources)
    whole = (folder / "index.parquet").read_bytes()
    column = pq.ParquetFile(folder / "index.parquet").metadata.row_group(0).column(2)  # offset
    end = (column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size
    damaged = bytearray(whole)
    damaged[end - 3] ^= 4
    (folder / "index.parquet").write_bytes(damaged)
    with pytest.raises(StageError, match="no usable index"):
        Index.open(folder)


def test_take_lists():
    values, offsets = np.arange(10) * 10, np.array([0, 2, 2, 7, 10], np.int32)
    for rows in ([], [1], [3, 0], [2, 2, 1, 0]):
        found, ends = take_lists(values, offsets, np.array(rows, np.int64))
        expected = [values[offsets[row] : offsets[row + 1]].tolist() for row in rows]
        assert [part.tolist() for part in np.split(found, ends[1:-1])] * bool(rows) == expected
    with pytest.raises(IndexError):
        take_lists(values, offsets, np.array([4]))


@pytest.mark.real_data
def test_audioset_whose_files_differ_by_case(tmp_path, shared_data):
    dataset = DatasetConfig("audioset", (FeatureConfig("audio_embedding", 128),), 527, holdout_percent=10)
    paths = sorted((shared_data / "audioset" / "train").iterdir(), key=lambda path: path.name.lower())[:400]
    names = [path.name.lower() for path in paths]
    assert len(set(names)) < len(names)
    summary, index = indexed(tmp_path / "index", [Source(path, "train") for path in paths], dataset)
    assert summary["quarantined"]["count"] == summary["duplicates"]["count"] == 0
    assert sum(index.splits.values()) == sum(shard["records"] for shard in summary["shards"])
    assert 0.08 < index.splits["holdout"] / sum(index.splits.values()) < 0.12
    for row in index.rows("holdout")[::40]:
        (id,) = index.ids_of(np.array([row]))
        data = index.paths[index.shard[row]].read_bytes()
        assert id.encode() in data[index.offset[row] : index.offset[row] + index.length[row]]


def test_an_index_of_a_newer_format_is_refused(small_index):
    path = small_index.folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(StageError, match=r"dataset\.json is of format 99"):
        Index.open(small_index.folder)
