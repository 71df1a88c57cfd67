"""Settings of other programs: what they would do to a stage, and that they do not."""

import io
import json
import os
import subprocess
import sys
import warnings

import pytest
from fixtures.support import ROOT, stage_command, stage_environment

from pipeline.runtime.surroundings import keep_out


@pytest.fixture(autouse=True)
def given_back(monkeypatch) -> None:
    for variable in ("KERAS_HOME", "KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED", "MPLBACKEND"):
        monkeypatch.setenv(variable, "7")


def test_what_cuts_a_training_short_or_stops_matplotlib_is_unset():
    os.environ["TQDM_DISABLE"] = "1"
    keep_out()
    assert not [name for name in os.environ if name.startswith("TQDM_")]
    assert not {"KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED", "MPLBACKEND"} & set(os.environ)


@pytest.mark.wide
def test_bars_are_drawn_whatever_the_environment_says_of_them(tmp_path):
    settings = {"TQDM_DISABLE": "1", "TQDM_MININTERVAL": "soon", "TQDM_BAR_FORMAT": "{nothing}", "TQDM_NCOLS": "-7"}
    environment = {**stage_environment(tmp_path), **settings}
    command = stage_command("synthesize", "--preset", ROOT / "tests" / "faults" / "small.py", "--workers", 1)
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0 and "100%|" in result.stderr, result.stderr


@pytest.mark.wide
def test_keras_is_as_it_comes_whatever_the_home_folder_says(tmp_path):
    (tmp_path / ".keras").mkdir()
    theirs = {"floatx": "float16", "epsilon": 0.1, "backend": "torch", "image_data_format": "channels_first"}
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps(theirs))
    script = (
        "from pipeline.runtime.surroundings import keep_out\nkeep_out()\nimport keras\n"
        "from keras import config\n"
        "print(config.backend(), config.floatx(), config.epsilon(), config.image_data_format(), config.max_epochs())"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "KERAS_BACKEND": ""}
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.stdout == "tensorflow float32 1e-07 channels_last None\n", result.stderr


def test_what_the_output_cannot_encode_is_written_as_in_json(monkeypatch):
    for encoding in ("ascii", "latin-1", "utf-8"):
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding))
        keep_out()
        print(json.dumps("aé日\U0001f600", ensure_ascii=False), end="", flush=True)
        assert json.loads(written.getvalue().decode(encoding)) == "aé日\U0001f600"
        print("\udcff", flush=True)  # of a name that is no UTF-8
        assert written.getvalue().endswith(b"\\udcff\n")


def test_warnings_stay_warnings(monkeypatch):
    monkeypatch.setenv("PYTHONWARNINGS", "error::DeprecationWarning")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keep_out()
        warnings.warn("of a library", DeprecationWarning, stacklevel=1)
