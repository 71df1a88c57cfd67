"""Reliability, its interval, its error, and precision by threshold, against loops over the pairs."""

import numpy as np
import pytest

from pipeline.metrics.calibration import BINS, THRESHOLDS, Calibration


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    scores = (rng.random(2000) ** 3).astype(np.float32)
    scores[:4] = 0, 1, -0.5, 1.5
    return scores, rng.random(2000) < np.clip(scores, 0, 1) ** 1.5


@pytest.fixture
def calibration(pairs):
    found = Calibration()
    for part in np.array_split(np.arange(2000), 7):
        found.add(*(array[part] for array in pairs))
    return found


def test_reliability(calibration, pairs):
    found, error = calibration.reliability(), 0.0
    for place in range(BINS):
        low, high = place / BINS, (place + 1) / BINS
        inside = [
            (float(score), right)
            for score, right in zip(*pairs)
            if low <= score < high or (place == 0 and score < 0) or (place == BINS - 1 and score >= 1)
        ]
        assert found.pairs[place] == len(inside)
        mean, share = np.mean(inside, axis=0)
        assert found.confidence[place] == pytest.approx(mean) and found.correct[place] == pytest.approx(share)
        error += abs(mean - share) * len(inside) / 2000
    assert found.error == pytest.approx(error)


def test_an_interval_holds_the_true_share_nineteen_times_of_twenty():
    rng, inside, tried = np.random.default_rng(1), 0, 0
    for _ in range(400):
        calibration = Calibration()
        calibration.add(np.full(40, 0.85, np.float32), rng.random(40) < 0.85)
        low, high = calibration.reliability().interval()
        inside += low[8] <= 0.85 <= high[8]
        tried += 1
    assert 0.92 < inside / tried < 0.98


def test_by_threshold(calibration, pairs):
    scores, correct = pairs
    at, precision, recall = calibration.by_threshold(1000, least=5)
    assert len(at) == THRESHOLDS
    for place in (1, 100, 333, 870, 999):
        # float64, as the thresholds are: a float32 score may lie on another side of them
        kept = (scores.astype(np.float64) * THRESHOLDS).astype(int) >= place
        assert recall[place] == pytest.approx(correct[kept].sum() / 1000)
        if kept.sum() >= 5:
            assert precision[place] == pytest.approx(correct[kept].mean())
        else:
            assert np.isnan(precision[place])
    assert recall[0] == correct.sum() / 1000 and np.isnan(precision[999])


def test_nothing_has_no_error():
    empty = Calibration()
    assert empty.reliability().error == 0 and np.isnan(empty.reliability().correct).all()
    assert np.isnan(empty.by_threshold(0)[1]).all()
