"""In which order the stages run, what each is given, and what is refused before any of them."""

import json
import re
import statistics

import pytest
from fixtures.made_up_runs import make_index, make_run
from fixtures.samples import put
from fixtures.support import TINY, of_one_feature, run_here

from pipeline import run_all
from pipeline.artifacts.files import read_json, write_json
from pipeline.config.errors import ConfigError, StageError
from pipeline.run_all import Flags


@pytest.fixture
def commands(monkeypatch):
    """Stage and flags of every stage that would have run; one that has `fails` in them fails."""
    found = []

    def call(stage, flags):
        found.append((stage, flags))
        if "fails" in flags:
            raise ConfigError("it is refused")

    monkeypatch.setattr(run_all, "call_stage", call)
    monkeypatch.setattr(run_all.backend, "forget_models", lambda: None)  # there are none
    return found


def test_every_training_is_asked_before_the_first_begins(tmp_path, commands):
    make_index(tmp_path)
    run_here("run_all", tmp_path, "--models", "average,netvlad", "--pooling.clusters", "4")
    stages = [stage for stage, _ in commands]
    assert stages == [
        *["ingest", "train", "train", *["train", "infer"] * 2],
        *["ensemble", "submit", "evaluate", "report"],
    ]
    assert ["--dry-run" in flags for _, flags in commands[1:5:1]] == [True, True, False, False]
    for _, flags in (commands[2], commands[5]):
        assert flags[flags.index("--model") + 1] == "netvlad" and "--pooling.clusters" in flags


def test_a_training_that_is_refused_ends_it_before_the_first_begins(tmp_path, commands):
    make_index(tmp_path)
    with pytest.raises(ConfigError, match="train: it is refused; once mended, the same command goes on from here"):
        run_here("run_all", tmp_path, "--models", "average,netvlad", "--training.teacher", "fails")
    assert [stage for stage, _ in commands] == ["ingest", "train"] and "--dry-run" in commands[1][1]


def test_the_dataset_is_that_of_every_stage(tmp_path, commands):
    make_index(tmp_path)
    other = (tmp_path / "data" / "small").rename(tmp_path / "data" / "other")
    summary = read_json(other / "index" / "dataset.json")
    summary["dataset"]["name"] = "other"
    write_json(other / "index" / "dataset.json", summary)
    run_here("run_all", tmp_path, "--dataset.name", "other")
    assert len(commands) == 8
    for stage, flags in commands:
        assert flags[flags.index("--dataset.name") + 1] == "other", stage


def test_which_split_is_submitted_is_asked_before_anything_runs(tmp_path, commands):
    make_index(tmp_path)
    raw = ["--raw", "train=a", "--raw", "eval=b", "--raw", "other=c"]
    with pytest.raises(StageError, match=r"which split is to be submitted\? Choose --split from: eval, other"):
        run_here("run_all", tmp_path, *raw)
    with pytest.raises(StageError, match="--split nothing: there is no such split"):
        run_here("run_all", tmp_path, *raw, "--split", "nothing")
    assert commands == []
    run_here("run_all", tmp_path, "--raw", "train=a", "--raw", "eval=b", "--raw", "holdout=c")
    assert commands, "a hold-out is not submitted"


def test_the_split_that_is_named_reaches_submit_alone(tmp_path, commands):
    make_index(tmp_path)
    run_here("run_all", tmp_path, "--split", "test")
    assert [stage for stage, flags in commands if "--split" in flags] == ["submit"]


def test_the_run_to_begin_with_reaches_every_training_alone(tmp_path, commands):
    make_index(tmp_path)
    run_here("run_all", tmp_path, "--models", "average,netvlad", "--from", "../other/netvlad")
    given = [(stage, flags[flags.index("--from") + 1]) for stage, flags in commands if "--from" in flags]
    assert given == [("train", "../other/netvlad")] * 4, "twice to look, twice to train"


@pytest.mark.parametrize(
    ("models", "names"), [("average", ["mine"]), ("average,netvlad", ["mine-average", "mine-netvlad"])]
)
def test_a_name_of_its_own_is_that_of_every_stage_that_takes_one(tmp_path, commands, models, names):
    make_index(tmp_path)
    run_here("run_all", tmp_path, "--models", models, "--run", "mine", "--training.epochs", "3")
    named = [flags[flags.index("--run") + 1] for stage, flags in commands if stage in ("train", "infer")]
    assert named == [*names, *(name for name in names for _ in ("train", "infer"))]
    ((_, blended),) = [command for command in commands if command[0] == "ensemble"]
    assert blended[blended.index("--runs") + 1 :] == names
    assert not any("--run" in flags for stage, flags in commands if stage not in ("train", "infer"))


def test_stages_are_counted_and_what_came_of_them_is_told(tmp_path, commands, capsys):
    index = make_index(tmp_path)
    make_run(tmp_path, index, "average", 1.0)
    run_here("run_all", tmp_path)
    lines = capsys.readouterr().out.splitlines()
    names = ["ingest", "train --model average", "infer --model average", "ensemble --runs average", "submit"]
    names += ["evaluate", "report"]
    assert [line for line in lines if line.startswith("Stage ")] == [
        f"Stage {number} of 7: {name}" for number, name in enumerate(names, 1)
    ]
    assert len([line for line in lines if re.fullmatch(r"in \d+:\d\d", line)]) == 7
    assert any(re.fullmatch(r"all stages in \d+:\d\d", line) for line in lines)
    assert any(line.startswith("best score   GAP@20 ") and " on test, by average" in line for line in lines)


def test_a_sample_reaches_submit_alone(tmp_path, commands):
    make_index(tmp_path)
    path = put(tmp_path / "sample.csv", "id,labels", "v250,3 0")
    run_here("run_all", tmp_path, "--like", path)
    assert [stage for stage, flags in commands if "--like" in flags] == ["submit"]


@pytest.mark.parametrize(
    ("rows", "stages", "message"),
    [
        ([], [], r"sample\.csv: there is no such file"),
        (["v250,0.5,0.25"], [], "the header is missing"),
        (["id,labels"], [], "no rows follow the header"),
        (["id,labels", "v250,30"], ["ingest"], "not a class of the dataset: '30'"),
        (["id,labels", "v001,3"], ["ingest"], "1 of its 1 id not predicted: 'v001'"),
    ],
)
def test_a_sample_that_submit_would_refuse_is_refused_early(tmp_path, commands, rows, stages, message):
    make_index(tmp_path)
    if rows:
        put(tmp_path / "sample.csv", *rows)
    with pytest.raises(StageError, match=message):
        run_here("run_all", tmp_path, "--like", tmp_path / "sample.csv")
    assert [stage for stage, _ in commands] == stages


def test_a_sample_without_a_split_to_submit_is_refused(tmp_path, commands):
    make_index(tmp_path, splits=("train",))
    with pytest.raises(StageError, match="there is no split to submit"):
        run_here("run_all", tmp_path, "--like", put(tmp_path / "sample.csv", "id,labels", "v001,3 0"))
    assert [stage for stage, _ in commands] == ["ingest"]


def test_without_a_split_to_submit_everything_else_runs(tmp_path, commands, capsys):
    make_index(tmp_path, splits=("train",))
    run_here("run_all", tmp_path)
    assert [stage for stage, _ in commands][-3:] == ["ensemble", "evaluate", "report"]
    assert "submit is left out: there is no split but those that are trained on" in capsys.readouterr().out


@pytest.mark.wide
def test_nothing_is_scored_or_predicted_twice(tmp_path, monkeypatch):
    """Every stage in this process: each split of each run is predicted once and scored once, and so are the priors."""
    from pipeline.inference import scoring
    from pipeline.inference.predictor import Predictor
    from pipeline.training import loop

    (tmp_path / "tiny.py").write_text(of_one_feature(TINY), encoding="utf-8")
    scored, predicted, evaluated = [], [], []
    score, predict_parts, evaluate = scoring.score_predictions, Predictor.predict_parts, loop.Trainer._evaluate

    def count_score(read, index, split, source):
        scored.append((source, split))
        return score(read, index, split, source)

    def count_rows(self, reader, parts, *more):
        predicted.append(sum(map(len, parts)))
        return predict_parts(self, reader, parts, *more)

    def count_evaluation(self, state):
        evaluated.append(state.step)
        return evaluate(self, state)

    monkeypatch.setattr(scoring, "score_predictions", count_score)
    monkeypatch.setattr(Predictor, "predict_parts", count_rows)
    monkeypatch.setattr(loop.Trainer, "_evaluate", count_evaluation)
    run_here("run_all", tmp_path, "--training.ema-half-life", "0", "--training.epochs", "2", preset="tiny.py")
    ensemble, index = tmp_path / "runs/tiny/ensemble/predictions/holdout", tmp_path / "data/tiny/index"
    # The runs' hold-outs are scored by training; their test split has no labels.
    assert sorted(scored) == sorted([(ensemble, "holdout"), (index, "holdout")])
    holdout = predicted[0]
    assert len(evaluated) == 4 and predicted == [*[holdout] * 2, 40, *[holdout] * 2, 40]


def test_folds_are_the_dataset_s_and_reach_every_stage(tmp_path, commands):
    index = make_index(tmp_path, folds=3)
    assert index.folds == 3
    run_here("run_all", tmp_path, "--folds", 3)
    assert len(commands) == 8
    for stage, flags in commands:
        assert flags[flags.index("--dataset.folds") + 1] == "3" and "--folds" not in flags, stage
    commands.clear()
    with pytest.raises(ConfigError, match=r"--folds is the same as --dataset.folds: give one of them"):
        run_here("run_all", tmp_path, "--folds", 3, "--dataset.folds", 3)
    with pytest.raises(ConfigError, match=r"must be from 0 to 50, not 51"):
        run_here("run_all", tmp_path, "--folds", 51)
    with pytest.raises(ConfigError, match=r"dataset.folds must be 0, for none, or at least 2"):
        run_here("run_all", tmp_path, "--folds", 1)
    assert commands == []


@pytest.mark.wide
def test_a_whole_run_in_folds_tells_its_out_of_fold_score_and_its_spread(tmp_path, stage):
    """Without folds before, and killed in between or not: the same command does what is left to do."""
    (tmp_path / "tiny.py").write_text(of_one_feature(TINY))
    given = ("--preset", tmp_path / "tiny.py", "--models", "average", "--workers", 1)
    stage("synthesize", *given[:2], "--workers", 1)  # records do not depend on the folds
    told = stage("run_all", *given, "--folds", 2).stdout
    run = tmp_path / "runs" / "tiny" / "average"
    folds = read_json(run / "predictions" / "holdout" / "scores.json")["folds"]
    mean, deviation = statistics.mean(each["gap"] for each in folds), statistics.stdev(each["gap"] for each in folds)
    whole = read_json(run / "predictions" / "holdout" / "scores.json")["whole"]
    assert [each["videos"] for each in folds] == [80, 80] and whole["videos"] == 160
    out_of_fold = rf"GAP@20 {whole['gap']:.4f}, {mean:.4f} ± {deviation:.4f} over 2 folds, by (average|ensemble)"
    assert re.search(rf"^out of fold  {out_of_fold}$", told, re.MULTILINE)
    assert re.search(rf"^  mean of 2 folds +{mean:.4f}", told, re.MULTILINE)
    assert re.search(rf"^  deviation of 2 folds +{deviation:.4f}", told, re.MULTILINE)
    page = (tmp_path / "reports" / "tiny.html").read_text()
    assert "mean and standard deviation of the scores of 2 folds" in page and f"{mean:.4f} ± {deviation:.4f}" in page
    assert "fold-1" not in page and "in 2 folds, each predicted by a model" in page
    again = stage("run_all", *given, "--folds", 2).stdout
    for part in ("fold-1", "fold-2", "predictions/holdout", "predictions/test"):
        assert f"runs/tiny/average/{part}: up to date" in again
    scored = json.loads(stage("evaluate", *given[:2], "--run", "average", "--split", "holdout", "--json").stdout)
    assert scored["folds"] == folds and scored["gap"] == whole["gap"]
    about = read_json(next((tmp_path / "submissions").glob("tiny-*.json")))
    assert about["videos"] == 40 and any("pipeline.train" in command for command in about["commands"])


@pytest.fixture
def far(monkeypatch):
    """The trainings that a cluster would have run."""
    found = []
    monkeypatch.setattr(Flags, "ray_cluster", lambda flags, models=False: object() if flags.engine == "ray" else None)
    monkeypatch.setattr(run_all, "train_far", lambda cluster, command_lines: found.extend(command_lines))
    return found


def value_of(flags: list[str], name: str) -> str | None:
    return flags[flags.index(name) + 1] if name in flags else None


def test_a_cluster_trains_all_models_and_folds_at_once(tmp_path, commands, far):
    make_index(tmp_path, folds=3)
    run_here("run_all", tmp_path, "--folds", 3, "--models", "average,netvlad", "--engine", "ray", "--task-cpus", 2)
    expected = [(model, str(fold)) for model in ("average", "netvlad") for fold in (1, 2, 3)]
    assert [(value_of(flags, "--model"), value_of(flags, "--fold")) for flags in far] == expected
    after = [(stage, flags) for stage, flags in commands if "--dry-run" not in flags]
    engines = {stage: value_of(flags, "--engine") for stage, flags in after}
    assert engines["ingest"] == engines["infer"] == "ray" and engines["train"] is None
    assert [stage for stage, _ in after].count("train") == 2


def test_what_a_cluster_has_trained_with_force_is_not_trained_again(tmp_path, commands, far):
    make_index(tmp_path)
    run_here("run_all", tmp_path, "--engine", "ray", "--force")
    assert ["--force" in flags for flags in far] == [True]
    assert ["--force" in flags for stage, flags in commands if stage == "train"] == [True, False]  # the first is dry


def test_with_force_a_cluster_trains_folds_at_once_when_all_of_them_are_deleted(tmp_path, commands, far, capsys):
    make_index(tmp_path, folds=2)
    run = tmp_path / "runs" / "small" / "average"
    write_json(run / "folds.json", {"folds": 2})
    for fold in ("fold-1", "fold-2"):
        write_json(run / fold / "config.json", {})
    run_here("run_all", tmp_path, "--folds", 2, "--engine", "ray", "--force")
    assert not run.exists() and f"{run} is made again: --force" in capsys.readouterr().out
    assert [(value_of(flags, "--fold"), "--force" in flags) for flags in far] == [("1", False), ("2", False)]
    assert ["--force" in flags for stage, flags in commands if stage == "train"] == [True, False]  # the first is dry


def test_each_seed_is_a_run_of_its_own(tmp_path, commands):
    make_index(tmp_path)
    run_here("run_all", tmp_path, "--models", "average,netvlad", "--seeds", 0, 7, "--training.epochs", 3)
    names = ["average-seed0", "average-seed7", "netvlad-seed0", "netvlad-seed7"]
    trained = [flags for stage, flags in commands if stage == "train"]
    for flags in (trained[:4], trained[4:]):  # first dry
        assert [value_of(each, "--run") for each in flags] == names
        assert [value_of(each, "--model") for each in flags] == ["average"] * 2 + ["netvlad"] * 2
        assert [value_of(each, "--training.seed") for each in flags] == ["0", "7"] * 2
    assert [value_of(flags, "--run") for stage, flags in commands if stage == "infer"] == names
    ((_, blended),) = [command for command in commands if command[0] == "ensemble"]
    assert blended[blended.index("--runs") + 1 :] == names
    assert not any("--seeds" in flags for _, flags in commands)
    commands.clear()
    run_here("run_all", tmp_path, "--run", "mine", "--seeds", 1)
    assert [value_of(flags, "--run") for stage, flags in commands if stage == "infer"] == ["mine-seed1"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--seeds", 0, 0), "seeds must be a tuple of 0 or more different values"),
        (("--seeds", 0, 1, "--training.seed", 2), "--seeds are those of several trainings, and --training.seed"),
        (("--seeds", -1), "must be from 0 to 4,294,967,295, not -1"),
    ],
)
def test_seeds_that_make_no_runs_are_refused(tmp_path, commands, given, message):
    make_index(tmp_path)
    with pytest.raises(ConfigError, match=message):
        run_here("run_all", tmp_path, *given)
    assert commands == []


def test_a_cluster_trains_all_seeds_and_folds_at_once_and_parts_share_them(tmp_path, commands, far):
    make_index(tmp_path, folds=2)
    asked = ("--folds", 2, "--seeds", 0, 1)
    run_here("run_all", tmp_path, *asked, "--engine", "ray")
    expected = [(str(seed), str(fold)) for seed in (0, 1) for fold in (1, 2)]
    assert [(value_of(flags, "--training.seed"), value_of(flags, "--fold")) for flags in far] == expected
    commands.clear()
    run_here("run_all", tmp_path, *asked, "--part", "2/2")
    shared = [flags for _, flags in commands if "--dry-run" not in flags]
    assert [(value_of(flags, "--run"), value_of(flags, "--fold")) for flags in shared] in (
        [("average-seed0", "2"), ("average-seed1", "2")],
        [("average-seed1", "1"), ("average-seed1", "2")],
    )


def test_parts_train_each_model_and_fold_once(tmp_path, commands):
    make_index(tmp_path, folds=2)
    asked = ("--folds", 2, "--models", "average,netvlad")
    trained = []
    for part in ("2/3", "1/3"):
        run_here("run_all", tmp_path, *asked, "--part", part)
        assert {stage for stage, _ in commands} == {"train"}
        trained += [flags for _, flags in commands if "--dry-run" not in flags]
        commands.clear()
    with pytest.raises(StageError, match="part 3 of 3 is missing: run the same command with --part 3/3"):
        run_here("run_all", tmp_path, *asked, "--join", 3)
    assert all(stage == "ingest" or "--dry-run" in flags for stage, flags in commands)
    commands.clear()
    run_here("run_all", tmp_path, *asked, "--part", "3/3")
    trained += [flags for _, flags in commands if "--dry-run" not in flags]
    commands.clear()
    units = sorted((value_of(flags, "--model"), value_of(flags, "--fold")) for flags in trained)
    assert units == [(model, fold) for model in ("average", "netvlad") for fold in ("1", "2")]
    run_here("run_all", tmp_path, *asked, "--join", 3, "--force")
    assert [stage for stage, _ in commands].count("infer") == 2
    assert not any("--part" in flags or "--join" in flags for _, flags in commands)
    assert not any("--force" in flags for stage, flags in commands if stage == "train" and "--dry-run" not in flags)
    with pytest.raises(StageError, match="part 1 of 3 was made from other files or settings"):
        run_here("run_all", tmp_path, *asked, "--join", 3, "--training.epochs", 3)
