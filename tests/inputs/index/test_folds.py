"""Folds: whole groups, as equal as these allow, the same everywhere, none empty."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.model_selection import GroupKFold

from pipeline.inputs.index import FOLD
from pipeline.inputs.index.folds import add_folds, assign_folds
from pipeline.inputs.index.ids import hash_ids


@pytest.mark.parametrize(("groups", "folds"), [(100, 5), (7, 5), (5, 5), (40, 2), (60, 50)])
def test_groups_stay_whole_and_folds_are_as_equal_as_scikit_learn_makes_them(groups, folds):
    rng = np.random.default_rng(groups)
    owners = rng.integers(0, groups, 400)
    owners[:groups] = np.arange(groups)
    found = assign_folds(hash_ids([f"group {owner}" for owner in owners]), folds)
    assert found.dtype == np.int8 and set(found) == set(range(1, folds + 1))
    assert all(len(set(found[owners == owner])) == 1 for owner in range(groups))
    theirs = [len(test) for _, test in GroupKFold(folds).split(owners, groups=owners)]
    assert sorted(np.bincount(found)[1:]) == sorted(theirs)


@pytest.mark.parametrize("videos", [5, 6, 1003])
def test_folds_of_single_videos_differ_by_one_video_at_most(videos):
    sizes = np.bincount(assign_folds(hash_ids([f"v{video}" for video in range(videos)]), 5))[1:]
    assert sizes.sum() == videos and sizes.max() - sizes.min() <= 1


def test_the_folds_do_not_depend_on_the_order_of_the_videos():
    keys = hash_ids([f"site {video % 37}" for video in range(300)])
    order = np.random.default_rng(0).permutation(300)
    assert (assign_folds(keys[order], 4) == assign_folds(keys, 4)[order]).all()
    # The same in every version and on every machine: a changed rule would mix what models have seen and not seen.
    assert assign_folds(hash_ids([f"v{video}" for video in range(12)]), 3).tolist() == [
        1,
        2,
        3,
        1,
        2,
        2,
        3,
        1,
        3,
        1,
        3,
        2,
    ]


def test_more_folds_than_groups_leave_some_empty_for_ingest_to_refuse():
    assert set(assign_folds(hash_ids(["a", "b", "a"]), 5)) == {1, 2}
    assert len(assign_folds(hash_ids([]), 5)) == 0


def test_the_column_is_added_row_by_row(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.inputs.index.folds.ROWS_PER_GROUP", 4)
    table = pa.table(
        {"id": ["a", "b", "c", "d", "e"], "split": pa.array(["x", "y", "x", "x", "y"]).dictionary_encode()}
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    add_folds(tmp_path / "rows.parquet", np.array([1, 0, 2, 1, 0], np.int8))
    found = pq.read_table(tmp_path / "rows.parquet")
    assert found.drop_columns([FOLD.name]).equals(table) and found.schema.field(FOLD.name) == FOLD
    assert found[FOLD.name].to_pylist() == [1, 0, 2, 1, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]
