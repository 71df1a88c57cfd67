"""The index that a stage opens is the one that its preset and its flags declare."""

import json
from dataclasses import replace

import pytest
from fixtures.made_up_runs import DATASET, make_index

from pipeline.cli.flags import CommonFlags
from pipeline.cli.opening import open_index
from pipeline.cli.parsing import parse_flags
from pipeline.config import to_dict
from pipeline.config.errors import StageError


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Opens the index of `tmp_path` with flags, the preset edited by (old, new)."""
    index = make_index(tmp_path)
    monkeypatch.setenv("PIPELINE_DATA", str(tmp_path / "data"))
    preset = tmp_path / "small.py"

    def note(declared) -> None:
        summary = json.loads((index.folder / "dataset.json").read_text())
        (index.folder / "dataset.json").write_text(json.dumps({**summary, "declared": to_dict(declared)}))

    def run(*flags, edit=("", "")):
        preset.write_text(preset.read_text().replace(*edit))
        return open_index(*parse_flags(CommonFlags, ["dataset"], ["--preset", str(preset), *flags]))

    run.note = note
    return run


def test_what_is_declared_as_it_was_is_opened(opened):
    assert opened().dataset.num_classes == DATASET.num_classes
    assert opened("--dataset.max-frames", str(DATASET.max_frames)).splits


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (("max_frames=12", "max_frames=6"), "max_frames: 12 -> 6"),
        (("holdout_percent=60", "holdout_percent=50"), r"holdout_percent: 60(\.0)? -> 50"),
        (("size=6", "size=5"), "features: "),
    ],
)
def test_a_preset_that_was_edited_since_is_refused(opened, edit, told):
    with pytest.raises(StageError, match=f"made with other settings than --preset .*{told}.*Run ingest"):
        opened(edit=edit)


def test_flags_that_say_something_else_are_refused(opened):
    with pytest.raises(StageError, match="max_frames: 12 -> 7"):
        opened("--dataset.max-frames", "7")


def test_flags_of_ingest_count_on_until_something_new_is_said(opened):
    """The preset said 300 frames when ingest was told 12 by a flag."""
    opened.note(replace(DATASET, max_frames=300))
    assert opened(edit=("max_frames=12", "max_frames=300")).dataset.max_frames == 12
    assert opened("--dataset.max-frames", "12").splits
    with pytest.raises(StageError, match="max_frames: 12 -> 13"):
        opened("--dataset.max-frames", "13")
    with pytest.raises(StageError, match="max_frames: 12 -> 200"):
        opened(edit=("max_frames=300", "max_frames=200"))


def test_an_index_in_a_folder_is_not_held_against_the_preset_but_against_flags(opened, tmp_path):
    other = (tmp_path / "data" / "small").rename(tmp_path / "data" / "other") / "index"
    preset = tmp_path / "small.py"
    preset.write_text(preset.read_text().replace("max_frames=12", "max_frames=6"))
    flags, experiment = parse_flags(CommonFlags, ["dataset"], ["--preset", str(preset)])
    assert open_index(flags, experiment, other).dataset.max_frames == 12
    flags, experiment = parse_flags(CommonFlags, ["dataset"], ["--preset", str(preset), "--dataset.max-frames", "7"])
    with pytest.raises(StageError, match="max_frames: 12 -> 7"):
        open_index(flags, experiment, other)
