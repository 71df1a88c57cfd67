"""The preset takes what the trials chose, and differs from trial to trial in what the benchmark can tell a stage."""

import csv

import pytest
from fixtures.support import ROOT

from pipeline.config import POOLING
from pipeline.presets import audioset

with (ROOT / "benchmarks" / "results" / "audioset_trials.csv").open(encoding="utf-8") as file:
    TRIALS = list(csv.DictReader(file))


@pytest.mark.parametrize("family", sorted({row["family"] for row in TRIALS}))
def test_each_family_has_the_trial_that_is_best_on_the_holdout(family):
    gap = {row["trial"]: float(row["holdout_gap"]) for row in TRIALS if row["family"] == family}
    assert gap.keys() == audioset.TRIALS.keys(), "every family has the same trials"
    assert audioset.experiment(family) == audioset.experiment(family, max(gap, key=gap.get))


@pytest.mark.parametrize("family", POOLING)
def test_trials_differ_in_classifier_and_training_alone(family):
    experiments = [audioset.experiment(family, trial) for trial in audioset.TRIALS]
    for one in experiments[1:]:
        assert one.model.classifier != experiments[0].model.classifier
        assert one.model.pooling == experiments[0].model.pooling
        assert (one.dataset, one.sampling) == (experiments[0].dataset, experiments[0].sampling)
