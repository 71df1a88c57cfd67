"""Choices: made on one half of the hold-out alone, and told."""

import numpy as np
import pytest
from fixtures.made_up_runs import make_index, make_run

from pipeline.artifacts.done import Done
from pipeline.artifacts.predictions import Predictions, PredictionStore
from pipeline.config import EnsembleConfig
from pipeline.ensembling.choosing import choose_weights, step_table
from pipeline.ensembling.holdout import is_tuning_half


@pytest.mark.parametrize("monitor", ["gap", "map", "hit_at_one"])
def test_the_half_that_is_reported_has_no_say(tmp_path, monitor):
    index = make_index(tmp_path)
    runs = [make_run(tmp_path, index, name, noise) for name, noise in (("a", 3.0), ("b", 3.5), ("c", 4.0))]
    settings = EnsembleConfig(combine="logits")
    first = choose_weights(runs, settings, (), index, monitor, 24)
    for run in runs:
        store = PredictionStore(run / "predictions" / "holdout")
        for number, part in enumerate(list(store.read())):
            other = ~is_tuning_half(part.ids)
            labels = np.where(other[:, None], part.labels[:, ::-1], part.labels)  # the best are now the worst
            store.write(number, Predictions(part.ids, labels, part.scores))
        done = Done.read(store.folder)
        store.finish(done.config, done.inputs)
    second = choose_weights(runs, settings, (), index, monitor, 24)
    assert second.recipe == first.recipe
    assert [step["tuned"] for step in second.steps] == [step["tuned"] for step in first.steps]
    assert all(after["reported"] < before["reported"] - 0.2 for before, after in zip(first.steps, second.steps))
    assert second.reported.keys() == first.reported.keys() == {"a", "b", "c", "ensemble"}


def test_the_table_tells_gains():
    steps = [{"step": "a alone", "tuned": 0.5, "reported": 0.4}, {"step": "+ b", "tuned": 0.5625, "reported": 0.3875}]
    members = [{"run": "a", "weight": 0.5}, {"run": "b", "weight": 0.5}, {"run": "c", "weight": 0.0}]
    about = {"steps": steps, "members": members, "method": "greedy", "combine": "ranks"}
    heading, first, second, weights = step_table(about).splitlines()
    assert heading.split() == ["hold-out", "GAP@20", "tuned", "on", "gain", "reported", "gain"]
    assert first.split() == ["a", "alone", "0.5000", "0.4000"]
    assert second.split() == ["+", "b", "0.5625", "+0.0625", "0.3875", "-0.0125"]
    assert weights == "greedy weights of ranks: a 0.500, b 0.500"
    assert step_table({**about, "monitor": "map"}).split()[:2] == ["hold-out", "MAP"]
    assert np.ptp([len(line) for line in (heading, second)]) == 0
