"""What a whole run has come to: the best score, the files, and commands that work."""

import os
import shlex

import pytest
from fixtures.made_up_runs import make_index, make_run

from pipeline.artifacts.files import write_json
from pipeline.artifacts.places import Places
from pipeline.inference.freshness import prediction_store
from pipeline.inference.outcome import tell_outcome
from pipeline.inference.scoring import scores_of


@pytest.fixture
def made(tmp_path):
    index = make_index(tmp_path)
    for name, noise, splits in (("loud", 6.0, ("holdout", "test")), ("calm", 2.0, ("holdout", "test"))):
        make_run(tmp_path, index, name, noise, splits)
    make_run(tmp_path, index, "unread", 0.1, ("holdout",))
    places = Places(*(tmp_path / name for name in ("data", "runs", "submissions", "reports")))
    return index, places


def test_the_best_on_the_last_split_its_files_and_what_comes_next(made, tmp_path):
    index, places = made
    for number, (name, preset) in enumerate((("a", "small"), ("b", "small"), ("c-d", "small-c"))):
        write_json(places.submissions_dir / f"small-{name}.json", {"preset": preset})
        (places.submissions_dir / f"small-{name}.csv.gz").touch()
        os.utime(places.submissions_dir / f"small-{name}.json", (number, number))
    best, csv, page, first, second = tell_outcome(places, "my presets/small.py", "small", index, True)
    assert best.startswith("best score   GAP@20 0.") and best.endswith(" on test, by calm, the best on the hold-out")
    assert csv == f"submission   {places.submissions_dir}/small-b.csv.gz"
    assert page == f"page         {places.reports_dir}/small.html"
    words = shlex.split(first.removeprefix("next"))
    assert words[:7] == ["python", "-m", "pipeline.export", "--preset", "my presets/small.py", "--run", "calm"]
    assert words[words.index("--runs-dir") + 1] == str(places.runs_dir)
    assert shlex.split(second)[2] == "pipeline.predict" and " FILE" in second


def test_the_hold_out_chooses_and_not_the_split_that_is_told(made, tmp_path):
    index, places = made
    make_run(tmp_path, index, "lucky", 9.0, ("holdout",))
    make_run(tmp_path, index, "lucky", 0.1, ("test",))
    best, *_ = tell_outcome(places, "my presets/small.py", "small", index, False)
    assert best.endswith(" on test, by calm, the best on the hold-out")
    scores = {
        run: scores_of(prediction_store(places.run("small", run), "test"), index, "test") for run in ("calm", "lucky")
    }
    assert scores["lucky"].whole["gap"] > scores["calm"].whole["gap"]
    assert f"{scores['calm'].whole['gap']:.4f}" in best


def test_without_scores_and_without_a_submission(tmp_path):
    index = make_index(tmp_path, splits=("train",))
    page, first, _ = tell_outcome(Places(), "small.py", "small", index, False)
    assert page == "page         reports/small.html"
    assert first == "next         python -m pipeline.export --preset small.py --run RUN"
