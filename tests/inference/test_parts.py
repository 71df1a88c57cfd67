"""A split predicted in parts, by several commands or in tasks of a cluster: the files of one infer."""

import pytest
from fixtures.made_runs import make_all
from fixtures.support import run_here

from pipeline.artifacts.files import read_json
from pipeline.artifacts.locks import locked
from pipeline.config import InferenceConfig
from pipeline.config.errors import ConfigError, StageError
from pipeline.inference.parts import Models, SplitTask, predict_part
from pipeline.inference.runs import TrainedRun
from pipeline.inputs.index import Index


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs, and the predictions of the split test by one infer: 20 videos, in parts of 4."""
    folder = tmp_path_factory.mktemp("made")
    make_all(folder)
    return folder, infer(folder)


FOUR = ("--model", "average", "--split", "test", "--inference.videos-per-part", 4)


def predicted(folder) -> dict[str, bytes]:
    store = folder / "runs" / "small" / "average" / "predictions" / "test"
    return {path.name: path.read_bytes() for path in store.iterdir()}


def infer(folder, *more) -> dict[str, bytes]:
    run_here("infer", folder, *FOUR, *more)
    return predicted(folder)


def test_parts_give_the_files_of_one_infer(made, capsys):
    folder, whole = made
    store = folder / "runs" / "small" / "average" / "predictions" / "test"
    (store / "done.json").unlink()
    (store / "part-00001.parquet").unlink()
    run_here("infer", folder, *FOUR, "--inference.top-k", 3, "--split", "test", "--part", "2/2")  # others, begun anew
    assert len(list(store.glob("*.parquet"))) == 2
    run_here("infer", folder, *FOUR, "--part", "2/2")
    assert sorted(path.name for path in store.glob("*.parquet")) == ["part-00001.parquet", "part-00003.parquet"]
    with pytest.raises(StageError, match=r"part 1 of 2 is missing: .* --part 1/2"):
        infer(folder, "--join", 2)
    assert len(list(store.glob("*.parquet"))) == 2
    capsys.readouterr()
    infer(folder, "--part", "1/2")
    assert "part 1 of 2 is predicted" in capsys.readouterr().out
    assert infer(folder, "--join", 2) == whole
    assert infer(folder, "--join", 2) == whole


def test_other_settings_do_not_disturb_a_part_at_work(made, monkeypatch):
    folder, _ = made
    store = folder / "runs" / "small" / "average" / "predictions" / "test"
    infer(folder)
    monkeypatch.setattr("pipeline.infer.PATIENCE", 0.2)
    with locked(store, shared=True), pytest.raises(StageError, match="another process is at work on"):
        infer(folder, "--inference.top-k", 3, "--part", "1/2")
    assert (store / "done.json").exists()


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--part", "3/2"), "--part 3/2: there are only 2 parts"),
        (("--part", "0/2"), "--part must be a part and their number, such as 3/8, not '0/2'"),
        (("--part", "1/2", "--join", 2), "exclude each other"),
        (("--part", "1/2", "--engine", "ray"), "exclude each other"),
        (("--engine", "spark"), "processes, ray or ray://HOST:PORT, not 'spark'"),
    ],
)
def test_what_is_asked_wrongly_is_refused(made, flags, message):
    with pytest.raises(ConfigError, match=message):
        infer(made[0], *flags)


def test_a_task_predicts_any_part(made):
    folder, whole = made
    infer(folder)
    store, index = folder / "runs" / "small" / "average" / "predictions" / "test", folder / "data" / "small" / "index"
    (store / "part-00002.parquet").unlink()
    run = TrainedRun.read(folder / "runs" / "small" / "average")
    models = Models(run, None, InferenceConfig(16, 9, 4))
    task = SplitTask(models, index, False, Index.open(index).digest, "test", None, store)
    assert predict_part(task, (2, range(8, 12))) == 4
    assert (store / "part-00002.parquet").read_bytes() == whole["part-00002.parquet"]
    assert read_json(store / "done.json")
    with pytest.raises(StageError, match="was made anew meanwhile"):
        predict_part(SplitTask(models, index, False, "other", "test", None, store), (2, range(8, 12)))
