"""The folders of a run in folds, and the file that says how many there are."""

import pytest

from pipeline.artifacts.files import write_json
from pipeline.artifacts.folds import FOLDS, fold_folder, fold_folders, is_fold, is_folded, note_folds
from pipeline.artifacts.places import Places, find_run, list_runs, list_scored
from pipeline.config.errors import StageError


def test_a_run_has_the_folds_that_were_noted(tmp_path):
    run = tmp_path / "netvlad"
    assert not is_folded(run)
    note_folds(run, 3)
    assert is_folded(run) and [fold.name for fold in fold_folders(run)] == ["fold-1", "fold-2", "fold-3"]
    assert is_fold(run / "fold-2") and not is_fold(run) and not is_fold(tmp_path / "fold-2")
    for fold in fold_folders(run):
        fold.mkdir()
    note_folds(run, 3)
    assert all(fold.exists() for fold in fold_folders(run))
    note_folds(run, 2)
    assert [fold.exists() for fold in (*fold_folders(run), fold_folder(run, 3))] == [True, True, False]


@pytest.mark.parametrize("folds", [None, 0, 1, 51, "3", True])
def test_a_damaged_number_is_refused(tmp_path, folds):
    write_json(tmp_path / FOLDS, {"folds": folds})
    with pytest.raises(StageError, match=r"folds.json"):
        fold_folders(tmp_path)


def test_it_is_found_and_listed_as_a_run_and_its_folds_are_not(tmp_path):
    places = Places(runs_dir=tmp_path)
    run = places.run("small", "netvlad")
    note_folds(run, 2)
    write_json(run / "fold-1" / "config.json", {})
    assert find_run(places, "small", "netvlad") == find_run(places, "small", str(run)) == run
    assert list_runs(places, "small") == list_scored(places, "small") == [run]
    with pytest.raises(StageError, match=r"fold-1 is a fold of the run .*netvlad.*: name that"):
        find_run(places, "small", str(run / "fold-1"))
