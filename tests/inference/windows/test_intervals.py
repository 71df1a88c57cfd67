"""Intervals of classes from scores of windows: where they begin and end, which classes, in which order."""

import numpy as np

from pipeline.config import (
    AverageConfig,
    ClassifierConfig,
    DatasetConfig,
    FeatureConfig,
    ModelConfig,
    SamplingConfig,
)
from pipeline.inference.ensemble import Ensemble
from pipeline.inference.windows.intervals import Interval, find_intervals, interval_values
from pipeline.inference.windows.scores import WindowScorer
from pipeline.inference.windows.times import WindowSettings
from pipeline.models import build_model

WINDOWS = WindowSettings(10, 5).of(40)  # middles 5, 10, .. 35
SCORES = np.array(
    [
        [0.9, 0.1, 0.5],
        [0.8, 0.7, 0.2],
        [0.1, 0.6, 0.2],
        [0.2, 0.75, 0.2],
        [0.2, 0.1, 0.2],
        [0.6, 0.2, 0.2],
        [0.7, 0.2, 0.5],
    ]
)


def test_neighbors_merge_and_what_is_apart_stays_apart():
    assert find_intervals(SCORES, WINDOWS, np.array([0.5, 0.5, 0.5])) == [
        Interval(0, 0, 12.5, 5, 0.9),
        Interval(2, 0, 7.5, 5, 0.5),
        Interval(1, 7.5, 22.5, 20, 0.75),
        Interval(0, 27.5, 40, 35, 0.7),
        Interval(2, 32.5, 40, 35, 0.5),
    ]


def test_each_class_has_its_threshold():
    assert find_intervals(SCORES, WINDOWS, np.array([0.85, 0.7, 1.1])) == [
        Interval(0, 0, 7.5, 5, 0.9),
        Interval(1, 7.5, 12.5, 10, 0.7),
        Interval(1, 17.5, 22.5, 20, 0.75),
    ]


def test_the_best_classes_are_kept_with_all_their_intervals():
    assert {each.label for each in find_intervals(SCORES, WINDOWS, np.full(3, 0.5), top=1)} == {0}
    assert len(find_intervals(SCORES, WINDOWS, np.full(3, 0.5), top=2)) == 3
    assert find_intervals(SCORES, WINDOWS, np.full(3, 0.99)) == []


def test_what_is_told_of_an_interval():
    told = interval_values(Interval(1, 1 / 3, 2.0, 1.16667, 0.12345678), ["a", "b"])
    assert told == {"label": 1, "name": "b", "start": 0.333, "end": 2.0, "peak": 1.167, "score": 0.123457}


def test_scenes_are_found_within_a_window():
    """By a model that says a class by the mean of its feature; 40 noisy videos, each with scenes of two classes."""
    dataset = DatasetConfig("scenes", (FeatureConfig("rgb", 3, "float32"),), num_classes=3, max_frames=400)
    classifier = ClassifierConfig(input_batch_norm=False, hidden=0, gating="none", head="logistic")
    model = build_model(ModelConfig("average", AverageConfig(), classifier), dataset)
    model.set_weights([10 * np.eye(3, dtype=np.float32), np.full(3, -5, np.float32)])
    scorer = WindowScorer(Ensemble.of_model(model, SamplingConfig(evaluation="all"), dataset, 3), 64)
    rng, settings, right = np.random.default_rng(0), WindowSettings(10, 5), 0
    for _ in range(40):
        num_frames = int(rng.integers(60, 300))
        frames, scenes = rng.normal(0, 0.3, (num_frames, 3)), []
        for label in range(2):
            length = int(rng.integers(12, 50))
            start = int(rng.integers(0, num_frames - length + 1))
            frames[start : start + length, label] += 1
            scenes.append((label, start, start + length))
        windows = settings.of(num_frames)
        found = find_intervals(scorer.scores(frames.astype(np.float32), windows), windows, np.full(3, 0.5))
        assert len(found) == 2
        for (label, start, end), each in zip(scenes, sorted(found, key=lambda each: each.label)):
            assert each.label == label
            right += abs(each.start - start) <= 10 and abs(each.end - end) <= 10
            assert start <= each.peak <= end
    assert right >= 0.9 * 80
