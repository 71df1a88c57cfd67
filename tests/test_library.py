"""The page on the pooling layers as a library: what it shows learns, in PyTorch, in JAX and with `fit`."""

import json
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
from fixtures.support import OTHER_BACKENDS, ROOT, on_backend

from pipeline.config import POOLING, DatasetConfig, FeatureConfig, ModelConfig
from pipeline.models import build_model

PAGE = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
LOOPS = {"jax": "In a JAX training loop", "torch": "In a PyTorch training loop"}
SHOWN = {"netvlad", "nextvlad", "attention_cluster"}


def code(heading: str = "") -> str:
    """The code under a heading of the page; without one, what all examples begin with."""
    before, *sections = PAGE.split("\n## ")
    text = next(section for section in sections if section.startswith(heading)) if heading else before
    return textwrap.dedent("".join(line + "\n" for line in text.splitlines() if line.startswith("    ") or not line))


@pytest.mark.wide
@pytest.mark.first
@pytest.mark.parametrize("backend", OTHER_BACKENDS)
def test_a_loop_of_ones_own_learns(backend):
    script = f"{code()}\n{code(LOOPS[backend])}\nimport json\nprint(json.dumps(right))"
    environment = on_backend(backend) | {"KERAS_BACKEND": ""}  # the page sets it
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    right = json.loads(result.stdout.splitlines()[-1])
    assert right.keys() == SHOWN and min(right.values()) > 0.95


@pytest.mark.wide
def test_fit_learns(capsys):
    names: dict = {}
    exec(f"{code()}\n{code('In a Keras model')}", names)
    assert names["right"].keys() == SHOWN and min(names["right"].values()) > 0.9


def test_a_whole_model_is_loaded_and_predicts(tmp_path, monkeypatch):
    dataset = DatasetConfig("demo", (FeatureConfig("rgb", 6),), 5)
    model = build_model(ModelConfig("netvlad", POOLING["netvlad"]((2,))), dataset)
    (tmp_path / "runs" / "demo" / "netvlad").mkdir(parents=True)
    model.save(tmp_path / "runs" / "demo" / "netvlad" / "model.keras")
    names = {"frames": np.ones((3, 4, 6), np.uint8), "num_frames": np.array([4, 2, 1], np.int32)}
    monkeypatch.chdir(tmp_path)
    exec(code("A whole model"), names)
    expected = keras.ops.convert_to_numpy(model({name: names[name] for name in ("frames", "num_frames")}))
    np.testing.assert_allclose(names["probabilities"], expected, rtol=1e-5)
