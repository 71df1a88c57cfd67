"""The table of families, as a user prints it."""

import json
import os
import re
import subprocess
import sys

import pytest
from support import ROOT

from pipeline.models import FAMILIES

FEW = ("average", "netvlad", "dbof")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pipeline.models", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)


def test_json_has_a_row_for_each_family_and_nothing_else_is_printed():
    result = run("--preset", "audioset", "--families", *FEW, "--json", KERAS_BACKEND="jax")
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout)
    assert [row["family"] for row in rows] == list(FEW)
    netvlad = rows[1]
    assert netvlad["source"] == FAMILIES["netvlad"].source
    assert netvlad["frames"] == netvlad["training_frames"] == 10
    assert netvlad["pooling_parameters"] == 2 * 64 * 128 + 2 * 64
    assert netvlad["parameters"] > netvlad["pooling_parameters"]
    assert netvlad["flops"] > 4 * 10 * 64 * 128
    assert netvlad["activation_bytes"] > 10 * 128 * 5
    assert "netvlad" in result.stderr, "the bar"


def test_the_table_has_a_line_for_each_family():
    result = run("--preset", "audioset", "--families", *FEW)
    assert result.returncode == 0, result.stderr
    head, *lines = result.stdout.splitlines()
    assert head.split() == ["frames", "parameters", "in", "pooling", "GFLOPs", "MB", "source"]
    assert [line.split()[0] for line in lines[: len(FEW)]] == list(FEW)
    assert lines[1].split()[1] == "10" and lines[1].endswith(FAMILIES["netvlad"].source)
    assert "audioset: audio 128, 527 classes" in lines


def test_an_unknown_family_is_refused_with_the_nearest():
    result = run("--families", "average", "netvald")
    assert result.returncode == 2
    assert result.stderr.startswith("error: unknown model 'netvald'. Did you mean netvlad?")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_source_in_the_table_is_one_of_the_docstrings(family):
    layer = FAMILIES[family]
    documented = layer.__doc__.partition("Source")[2]
    for name in re.findall(r"[A-Z][\w-]+|\d{4}", layer.source):
        assert name in documented, name
