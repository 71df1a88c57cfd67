"""Command lines: presets, overrides, refusals, and help without a backend."""

import importlib
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from fixtures.support import ROOT

from pipeline.artifacts.done import VERSION
from pipeline.cli.flags import CommonFlags, PresetFlags
from pipeline.cli.overrides import flag_name
from pipeline.cli.parsing import parse_flags
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.config import POOLING, ConfigError
from pipeline.config.errors import StageError
from pipeline.presets import load_experiment


@dataclass(frozen=True)
class Flags(CommonFlags):
    """A stage's own."""

    model: str | None = None


def test_flags_override_the_preset_of_the_chosen_model():
    arguments = (
        "--preset audioset --model netvlad --pooling.clusters 32 --training.batch-size 7 --classifier.head logistic"
    )
    flags, experiment = parse_flags(Flags, ["pooling", "training", "classifier"], arguments.split())
    assert flags.model == "netvlad"
    assert experiment.model.pooling.clusters == (32,)
    assert experiment.training.batch_size == 7
    assert experiment.model.classifier.head == "logistic"
    untouched = load_experiment("audioset", "netvlad")
    assert experiment.training.epochs == untouched.training.epochs
    assert experiment.dataset == untouched.dataset


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--training.epohs", "3"], "training.epochs"),
        (["--training.batch-size", "many"], "many"),
        (["--training.decay", "cosin"], "cosin"),
    ],
)
def test_wrong_flags_end_the_process_and_name_what_is_wrong(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse_flags(Flags, ["pooling", "training"], arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_setting_of_another_family_is_refused_by_its_name():
    with pytest.raises(ConfigError, match=r"--pooling.democratic is a setting of second_order; the model is netvlad"):
        parse_flags(Flags, ["pooling"], ["--model", "netvlad", "--pooling.democratic"])


@pytest.mark.parametrize(
    ("token", "name"),
    [
        ("--pooling.no-democratic", "pooling.democratic"),
        ("--pooling.center_sparsity=0.1", "pooling.center-sparsity"),
        ("--no-force", "force"),
        ("--training.epochs", "training.epochs"),
    ],
)
def test_a_flag_has_one_name_however_it_is_written(token, name):
    assert flag_name(token) == name


def test_a_section_that_a_stage_does_not_read_is_refused():
    with pytest.raises(SystemExit):
        parse_flags(Flags, ["inference"], ["--training.epochs", "3"])


def test_an_unknown_preset_or_model_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown preset 'audoset'\. Did you mean audioset\?"):
        load_experiment("audoset")
    with pytest.raises(ConfigError, match=r"unknown model 'netvald'\. Did you mean netvlad\?"):
        load_experiment("demo", "netvald")


def test_a_preset_may_be_a_file_of_the_users(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from pipeline.presets.demo import *\n")
    assert load_experiment(str(path), "average") == load_experiment("demo", "average")
    path.write_text("MODELS = ('average',)\n")
    with pytest.raises(ConfigError, match="must define experiment"):
        load_experiment(str(path))
    with pytest.raises(ConfigError, match="no preset file"):
        load_experiment(str(tmp_path / "other.py"))


@pytest.mark.parametrize("name", ["..py", ".a.py", "-a.py", " a.py", f"{'é' * 101}.py", "a\x1b.py"])
def test_the_file_of_a_preset_names_a_folder(tmp_path, name):
    """Runs, submissions and pages are named after it."""
    path = tmp_path / name
    path.write_text("from pipeline.presets.demo import *\n")
    with pytest.raises(ConfigError, match=r"the name of preset .*py must be a plain name of at most 200 bytes"):
        parse_flags(Flags, [], [f"--preset={path}"])
    good = path.rename(tmp_path / "a b.c.py")
    assert parse_flags(Flags, [], [f"--preset={good}"])[0].preset_name == "a b.c"


PRESET = """
from pipeline.config import *
MODELS = ("average",)
def dataset(**changes):
    return DatasetConfig(**{"name": "d", "features": (FeatureConfig("rgb", 4),), "num_classes": 3, **changes})
def experiment(model):
    return Experiment(dataset(), ModelConfig(model, POOLING[model](), ClassifierConfig(hidden=8)))
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("POOLING[model]()", "{}[model]", "model average: KeyError: 'average'"),
        ("return Experiment", "Experiment", "model average: experiment() must return an Experiment, not None"),
        ("return Experiment", "return 3; Experiment", "must return an Experiment, not a int"),
        ("dataset(),", "dataset,", "model average: dataset must be a DatasetConfig, not <function"),
        (
            "dataset(),",
            "dataset(features=[1]),",
            "dataset.features must be a tuple, not [1]: write (1,)",
        ),
        (
            "dataset(),",
            "dataset(features=FeatureConfig('x', 1)),",
            "dataset.features must be a tuple, not Feature",
        ),
        ("dataset(),", "dataset(num_classes='3'),", "dataset.num-classes must be a whole number from 1 to 100,000"),
        ("dataset(),", "dataset(id_keys='id'),", "dataset.id-keys must be a tuple, not 'id'"),
        ("hidden=8", "hiden=8", "model average: TypeError: ClassifierConfig.__init__() got an unexpected keyword"),
        ("hidden=8", "hidden=-3", "model average: classifier.hidden must be from 0 to 1,048,576, not -3"),
        ("ModelConfig(model,", "ModelConfig('netvlad',", "family netvlad takes NetVLADConfig, not AverageConfig"),
        ("experiment(model):", "experiment(model):\n    model = 'dbof'", "experiment() returned a model of dbof"),
        ('("average",)', '"netvlad"', "MODELS must be a tuple of names of one model or more, not 'netvlad': write ('n"),
        ('("average",)', "()", "MODELS must be a tuple of names of one model or more, not ()"),
        ('("average",)', "(3,)", "MODELS must be a tuple of names of one model or more, not (3,)"),
        ('("average",)', '("averag",)', "'averag'. Did you mean average?"),
        ("MODELS", "MODEL", "must define MODELS"),
        ("def experiment", "def experiments", "must define experiment"),
        ("import *", "import nothing", "cannot be loaded: ImportError: "),
    ],
)
def test_a_fault_of_a_preset_names_the_preset_and_the_field(tmp_path, old, new, message):
    path = tmp_path / "mine.py"
    path.write_text(PRESET)
    assert load_experiment(str(path)).model.family == "average"
    assert old in PRESET
    path.write_text(PRESET.replace(old, new))
    with pytest.raises(ConfigError) as error:
        load_experiment(str(path))
    assert f"preset {path}" in str(error.value) and message in str(error.value)


def test_what_does_not_fit_together_is_refused_after_all_flags(tmp_path):
    """A preset may declare what a flag puts right; a stage that does not train does not look."""
    path = tmp_path / "mine.py"
    path.write_text(PRESET.replace("hidden=8)", "hidden=8)), training=TrainingConfig(batch_size=1"))
    sections = ["pooling", "training"]
    with pytest.raises(ConfigError, match=r"training\.batch-size must be at least 2 videos, not 1: "):
        parse_flags(Flags, sections, ["--preset", str(path)])
    assert parse_flags(Flags, sections, ["--preset", str(path), "--training.batch-size", "2"])
    assert parse_flags(Flags, ["inference"], ["--preset", str(path)])
    with pytest.raises(ConfigError, match=r"pooling\.clusters has 3 values for 2 features"):
        parse_flags(Flags, sections, ["--model", "netvlad", "--pooling.clusters", "3", "2", "1"])


@pytest.mark.parametrize(("error", "status"), [(ConfigError("of a setting"), 2), (StageError("of a stage"), 1)])
def test_errors_end_a_stage_with_their_message_alone(error, status):
    names = "from pipeline.cli.running import run_stage\nfrom pipeline.config import ConfigError, StageError\n"
    code = f"{names}def main(): raise {error!r}\nrun_stage(main)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stderr, result.stdout) == (status, f"error: {error}\n", "")


@pytest.mark.wide
@pytest.mark.parametrize("stage", STAGES)
def test_help_explains_the_stage_and_imports_no_backend(stage):
    command = [sys.executable, "-X", "importtime", "-m", f"pipeline.{stage}", "--help"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert ("--preset" in result.stdout) == any(issubclass(group, PresetFlags) for group in STAGES[stage].flags)
    assert f"python -m pipeline.{stage}" in result.stdout
    assert "{None}" not in result.stdout
    if "\u2502 --model" in result.stdout:
        assert set(POOLING) <= set(re.findall(r"\w+", result.stdout))
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "pipeline.cli.parsing" in imported
    assert not {"tensorflow", "keras", "jax", "numba", "pandas", "matplotlib"} & imported


@pytest.mark.parametrize("command", ["pipeline", "pipeline.train --help"])
def test_output_may_be_cut_off(command):
    command = f"{sys.executable} -m {command} | head -n 1; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert (result.stdout.count("\n"), result.stderr) == (1, "")
    assert result.returncode in (0, 1)  # 0 where it was faster


def test_a_pipe_that_breaks_elsewhere_is_an_error():
    def main():
        raise BrokenPipeError("of a socket")

    with pytest.raises(BrokenPipeError, match="of a socket"):
        run_stage(main)


def test_the_package_lists_its_stages_and_presets():
    result = subprocess.run([sys.executable, "-m", "pipeline"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in (*STAGES, "demo", "audioset", "youtube8m", "youtube8m_video"):
        assert f"  {name} " in result.stdout


def package(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["pipeline", *arguments])
    importlib.import_module("pipeline.__main__").main()


def test_a_stage_is_run_by_its_name_alone(monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr("pipeline.run_all.main", lambda: given.append(list(sys.argv)))
    for name in ("run_all", "run-all"):
        package(monkeypatch, name, "--preset", "audioset")
    assert [(Path(first).stem, *others) for first, *others in given] == [("run_all", "--preset", "audioset")] * 2
    with pytest.raises(ConfigError, match=r"unknown stage 'trian'\. Did you mean train\? There are: run_all, "):
        package(monkeypatch, "trian")
    with pytest.raises(ConfigError, match="--trian is no flag of"):
        package(monkeypatch, "--trian")


def test_the_package_and_every_stage_tell_the_version(monkeypatch, capsys):
    package(monkeypatch, "--version")
    for arguments in (["--version"], ["--preset", "audioset", "--version"]):
        with pytest.raises(SystemExit) as stopped:
            parse_flags(Flags, ["training"], arguments)
        assert not stopped.value.code
    assert capsys.readouterr().out.split() == [VERSION] * 3
