"""Training in folds: what no fold may see it does not see; killed anywhere it goes on; folds that do not fit."""

import shutil

import numpy as np
import pytest
from faults import same
from fixtures.support import run_here, small_preset, write_shard

from pipeline import train
from pipeline.artifacts.done import Done
from pipeline.artifacts.files import read_json, write_json
from pipeline.artifacts.folds import FOLDS, digest_of_folds, fold_folders
from pipeline.artifacts.locks import Busy, locked
from pipeline.artifacts.places import RUN_CONFIG
from pipeline.config import InferenceConfig, TrainingConfig
from pipeline.config.errors import StageError
from pipeline.inference.runs import TrainedRun
from pipeline.inputs.index import HOLDOUT, Index
from pipeline.submission.provenance import commands_to_reproduce
from pipeline.training.batches import TrainBatches
from pipeline.training.folds import remove_run

PRESET = small_preset(
    TrainingConfig(batch_size=8, epochs=2, ema_half_life=4),
    InferenceConfig(batch_size=16, top_k=9, videos_per_part=16),
)


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """A folder with a run that is trained in two folds, and the rows of every batch, by fold."""
    folder = tmp_path_factory.mktemp("once")
    (folder / "small.py").write_text(PRESET)
    write_shard(folder / "raw" / "train.tfrecord", range(60))
    run_here("ingest", folder, "--raw", f"train={folder}/raw", "--workers", 1, "--dataset.folds", 2)
    seen: dict[int, list[np.ndarray]] = {1: [], 2: []}
    read = TrainBatches._read

    def noted(self, step):
        seen[self.reader.index.held_out].append(self.sampler.step(step))
        return read(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainBatches, "_read", noted)
        run_here("train", folder)
    return folder, seen


@pytest.fixture
def trained(once, tmp_path):
    """The run in a folder of the test's own."""
    shutil.copytree(once[0], tmp_path, dirs_exist_ok=True)
    return tmp_path / "runs" / "small" / "average"


def test_no_batch_of_a_fold_holds_a_video_that_it_holds_out(once):
    folder, seen = once
    index = Index.open(folder / "data" / "small" / "index")
    held = [set(index.fold(number).rows(HOLDOUT).tolist()) for number in (1, 2)]
    assert held[0] | held[1] == set(index.rows("train").tolist()) and not held[0] & held[1]
    for number in (1, 2):
        shown = np.concatenate(seen[number]).tolist()
        assert not (index.fold_of(np.array(shown)) == number).any()
        assert len(shown) >= 2 * 30 and set(shown) == held[2 - number], "all others, in each of two epochs"


def test_a_run_in_folds_is_its_folds(once):
    folder, _ = once
    run, index = folder / "runs" / "small" / "average", Index.open(folder / "data" / "small" / "index")
    digests = [Done.read(fold).output for fold in fold_folders(run)]
    assert len(set(digests)) == 2 and Done.read(run).output == digest_of_folds(digests)
    whole = TrainedRun.read(run)
    assert whole.folder == run and whole.digest == Done.read(run).output
    assert [path.parent for path in whole.models] == fold_folders(run)
    assert whole.trained_on == (index.fold(1).digest, index.fold(2).digest)
    summaries = [read_json(fold / "summary.json") for fold in fold_folders(run)]
    about = read_json(run / "summary.json")
    assert about["parameters"] == 2 * summaries[0]["parameters"] and about["folds"] == 2
    assert read_json(run / "fold-2" / RUN_CONFIG)["fold"] == 2
    assert len(commands_to_reproduce(run, str(folder / "small.py"), HOLDOUT)) == 1, "nothing is inferred yet"


def content(folder) -> dict[str, bytes]:
    return {name: value for name, value in same.content(folder).items() if name.startswith("runs/")}


@pytest.mark.wide
def test_folds_that_are_killed_go_on_and_end_the_same(trained, tmp_path, monkeypatch, capsys):
    """In the last fold, and after it; tests/faults kills them anywhere."""
    expected = content(tmp_path)
    shutil.rmtree(trained / "fold-2")
    for name in ("done.json", "summary.json"):
        (trained / name).unlink()

    def kill(*_):
        raise KeyboardInterrupt

    for at in ("pipeline.training.checkpoint.TrainState.__init__", "pipeline.training.loop.MetricsLog.close"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(at, kill)
            run_here("train", tmp_path)
        with pytest.raises(StageError, match="fold-2 is not trained to its end"):
            TrainedRun.read(trained)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("pipeline.training.folds.write_json", kill)
        run_here("train", tmp_path)
    with pytest.raises(StageError, match="average is not trained to its end"):
        TrainedRun.read(trained)
    capsys.readouterr()
    run_here("train", tmp_path)
    assert capsys.readouterr().out.count(": up to date\n") == 2
    assert not same.differences(content(tmp_path), expected)


def test_folds_are_shared_out_and_the_last_one_finishes_the_run(trained, tmp_path, capsys):
    expected = content(tmp_path)
    (trained / "fold-1").rename(tmp_path / "elsewhere")
    (trained / "done.json").unlink()
    run_here("train", tmp_path, "--fold", 2)
    assert capsys.readouterr().out.endswith(f"{trained} is not trained to its end: fold-1 to go\n")
    assert not (trained / "done.json").exists()
    (tmp_path / "elsewhere").rename(trained / "fold-1")
    run_here("train", tmp_path, "--fold", 1)
    assert f"{trained}: 2 folds, hold-out GAP 0." in capsys.readouterr().out
    assert content(tmp_path) == expected


def test_what_does_not_fit_is_refused_before_any_work(trained, tmp_path):
    before = content(tmp_path)
    for arguments, message in (
        (("--fold", 3), r"--fold 3: .*index has 2 folds"),
        (("--training.seed", 1), r"fold-2 was trained with other settings: training.seed: 0 -> 1.*--run NAME"),
        (("--fold", 1, "--force", "--training.seed", 1), r"fold-2 was trained with other settings: training.seed"),
        (
            ("--run", "new", "--training.teacher", "average"),
            r"--training.teacher average: .*index without --dataset.fo",
        ),
    ):
        with pytest.raises(StageError, match=message):
            run_here("train", tmp_path, *arguments)
        assert content(tmp_path) == before, arguments
    config = read_json(trained / "fold-2" / RUN_CONFIG)
    write_json(trained / "fold-2" / RUN_CONFIG, {**config, "sampling": {**config["sampling"], "frames": 3}})
    with pytest.raises(StageError, match=r"fold-2 was trained with other settings than .*fold-1: sampling.frames"):
        TrainedRun.read(trained)


@pytest.mark.wide
def test_a_run_without_folds_is_not_replaced_unasked_nor_one_with_folds(trained, tmp_path):
    ingest = ("--raw", f"train={tmp_path}/raw", "--workers", 1)
    run_here("ingest", tmp_path, *ingest)
    with pytest.raises(StageError, match=r"average was made with other settings: dataset.folds: 2 -> 0. Give the new"):
        run_here("train", tmp_path)
    with pytest.raises(StageError, match=r"--fold 1: .*index has no folds"):
        run_here("train", tmp_path, "--fold", 1)
    run_here("train", tmp_path, "--force")
    assert (trained / RUN_CONFIG).exists() and not (trained / FOLDS).exists() and not (trained / "fold-1").exists()
    run_here("ingest", tmp_path, *ingest, "--dataset.folds", 3)
    with pytest.raises(StageError, match=r"average was made with other settings: dataset.folds: 0 -> 3"):
        run_here("train", tmp_path)


def test_a_fold_begins_with_weights_that_have_not_seen_what_it_holds_out(trained, tmp_path, capsys):
    run_here("train", tmp_path, "--run", "again", "--from", "average", "--fold", 2)
    assert f"{trained / 'fold-2'} gives " in capsys.readouterr().out
    run_here("ingest", tmp_path, "--raw", f"train={tmp_path}/raw", "--workers", 1, "--dataset.folds", 3)
    with pytest.raises(
        StageError, match=r"--from .*: .*fold-1 was trained on videos of small that this training holds"
    ):
        run_here("train", tmp_path, "--run", "other", "--from", str(trained))


def test_a_run_is_removed_with_its_folds_unless_one_of_them_is_at_work(trained):
    with locked(trained / "fold-2"), pytest.raises(Busy):
        remove_run(trained)
    assert (trained / "fold-1" / RUN_CONFIG).exists()
    remove_run(trained)
    assert not trained.exists()
    remove_run(trained)  # there is none


def test_with_force_a_cluster_begins_folds_of_other_settings_when_all_are_deleted(trained, tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(train.Flags, "ray_cluster", lambda flags, models=False: object())
    monkeypatch.setattr(
        train, "train_far", lambda cluster, lines: called.extend((each, list_of(trained)) for each in lines)
    )
    run_here("train", tmp_path, "--engine", "ray", "--force", "--training.seed", 1)
    assert [(each[-2:], "--force" in each, there) for each, there in called] == [
        (["--fold", "1"], False, []),
        (["--fold", "2"], False, []),
    ]


def list_of(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []
