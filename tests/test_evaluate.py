"""The table of scores: a block for each split, in 80 columns, best first; who is not in it, and what to do."""

import json
import shutil

import pytest
from fixtures.made_up_runs import make_index, make_run
from fixtures.support import run_here

from pipeline.artifacts.files import write_json

LONG = "a-run-whose-name-is-longer-than-its-column"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored")
    index = make_index(folder)
    for name, noise in (("loud", 6.0), ("calm", 1.0), (LONG, 3.0)):
        run = make_run(folder, index, name, noise)
        write_json(run / "summary.json", {"parameters": 1_234_567_890, "examples_per_second": 9.0})
    return folder


def test_a_block_for_each_split_in_80_columns_best_first(folder, capsys):
    run_here("evaluate", folder)
    printed = capsys.readouterr().out
    run_here("evaluate", folder, "--json")
    rows = {(row["run"], row["split"]): row for row in json.loads(capsys.readouterr().out)}
    assert max(map(len, printed.splitlines())) == 80
    blocks = [block.splitlines() for block in printed.split("\n\n")]
    for split, count, (header, *lines) in zip(("holdout", "test"), (142, 240), blocks, strict=True):
        assert header.startswith(f"{split}: {count} videos ")
        assert header.split()[3:] == ["GAP@20", "MAP", "Hit@1", "PERR", "MAP@20", "parameters"]
        assert [line.split()[0] for line in lines] == ["calm", "…-longer-than-its-column", "loud", "label"]
        for name, line in zip(("calm", LONG, "loud", "label priors"), lines):
            row = rows[name, split]
            told = "  ".join(f"{row[key]:.4f}" for key in ("gap", "map_all_kept", "hit_at_one", "perr", "map"))
            assert told in line
            assert line.endswith(" 1,234,567,890") == (name != "label priors")


def test_runs_that_have_not_predicted_a_split_are_in_one_line_with_the_command(folder, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for name in ("calm", "loud"):
        shutil.rmtree(copy / "runs" / "small" / name / "predictions" / "test")
    run_here("evaluate", copy)
    told = capsys.readouterr()
    assert told.err.splitlines() == [
        "left out: calm, loud have no predictions of test: run infer --run calm --split test, and so on"
    ]
    assert "calm" in told.out.split("\n\n")[0] and "calm" not in told.out.split("\n\n")[1]
