"""The metric that chooses: it has a name and a title, and what cannot be computed is refused before work begins."""

from dataclasses import replace
from typing import get_args

import pytest

from pipeline.config import (
    ConfigError,
    DatasetConfig,
    Experiment,
    FeatureConfig,
    InferenceConfig,
    ModelConfig,
    TrainingConfig,
    check_model_fits_dataset,
    from_dict,
    labels_kept,
    to_dict,
)
from pipeline.config.monitor import Monitor, key_of, short_title, title_of, why_not


def test_each_has_a_title():
    assert len({title_of(monitor) for monitor in get_args(Monitor)}) == len(get_args(Monitor))
    assert (key_of("map"), title_of("map"), key_of("auc")) == ("map_all_kept", "MAP", "auc")
    assert (title_of("gap"), short_title("gap"), short_title("top_1")) == ("GAP@20", "GAP", "top-1")


@pytest.mark.parametrize(
    ("monitor", "task", "kept", "classes", "fault"),
    [
        ("gap", "multi_label", 1, 5000, ""),
        ("map", "multi_label", 100, 5000, ""),
        ("auc", "multi_label", 1000, 1000, ""),
        ("auc", "multi_label", 100, 9, ""),
        (
            "auc",
            "multi_label",
            999,
            1000,
            "auc needs the scores of 1000 .*, and 999 are kept: set inference.top-k",
        ),
        ("d_prime", "single_label", 8, 9, "d_prime needs the scores of 9 classes"),
        ("top_1", "multi_label", 9, 9, "top_1 is the accuracy of a single_label dataset, and this one is multi_label"),
        ("top_5", "single_label", 4, 9, "top_5 needs the scores of 5 classes"),
        ("top_5", "single_label", 3, 3, ""),
    ],
)
def test_what_cannot_be_computed(monitor, task, kept, classes, fault):
    found = why_not(monitor, task, kept, classes)
    assert bool(found) == bool(fault)
    dataset = DatasetConfig("d", (FeatureConfig("a", 4),), classes, task=task)
    training, inference = TrainingConfig(monitor=monitor), InferenceConfig(top_k=kept)
    whole = Experiment(dataset, ModelConfig(), training=training, inference=inference)
    if not fault:
        check_model_fits_dataset(whole)
        return
    with pytest.raises(ConfigError, match=f"training.monitor: {fault}"):
        check_model_fits_dataset(whole)
    check_model_fits_dataset(replace(whole, training=TrainingConfig()))


@pytest.mark.parametrize(
    ("classes", "kept"), [(1, 100), (100, 100), (101, 101), (1024, 1024), (1025, 100), (3862, 100)]
)
def test_all_of_up_to_1024_classes_are_kept(classes, kept):
    """Of 100 or fewer the number is that of earlier versions, whose predictions stay up to date."""
    assert labels_kept(None, classes) == kept and labels_kept(7, classes) == 7


def test_what_was_stored_without_a_monitor_had_gap():
    stored = to_dict(TrainingConfig())
    assert "monitor" not in stored and from_dict(TrainingConfig, stored).monitor == "gap"
    assert to_dict(TrainingConfig(monitor="auc"))["monitor"] == "auc"
