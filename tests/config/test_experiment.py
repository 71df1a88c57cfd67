"""Configurations: round trip through JSON, and what is refused."""

import dataclasses
import math

import pytest

from pipeline.config import (
    POOLING,
    AverageConfig,
    ConfigError,
    DatasetConfig,
    Experiment,
    FeatureConfig,
    ModelConfig,
    NetVLADConfig,
    differences,
    find_by_name,
    from_dict,
    to_dict,
)
from pipeline.presets import load_experiment, presets


@pytest.mark.parametrize("preset", presets())
@pytest.mark.parametrize("family", POOLING)
def test_every_preset_goes_through_json_and_comes_back(preset, family):
    experiment = load_experiment(preset, family)
    assert experiment.model.family == family
    assert from_dict(Experiment, to_dict(experiment)) == experiment


def test_a_field_that_was_added_is_stored_only_where_it_was_set():
    """So what is stored without it, by an older version, is of the same settings and has the same digest."""
    feature = FeatureConfig("rgb", 4)
    assert to_dict(feature) == {"name": "rgb", "size": 4, "dtype": "uint8", "source": ""}
    assert from_dict(FeatureConfig, to_dict(feature)) == feature
    ranged = FeatureConfig("rgb", 4, minimum=-1)
    assert to_dict(ranged) == to_dict(feature) | {"minimum": -1}
    assert from_dict(FeatureConfig, to_dict(ranged)) == ranged
    dataset = DatasetConfig("d", (ranged,), 3)
    assert to_dict(dataset)["features"] == [to_dict(ranged)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"minimum": 2}, "dataset.features.minimum must be less than dataset.features.maximum, 2, not 2"),
        ({"minimum": math.nan}, "dataset.features.minimum must be from -1,000,000,000 to 1,000,000,000, not nan"),
        ({"dtype": "float16", "maximum": 3}, "are the range of bytes, and feature rgb is float16: leave them out"),
    ],
)
def test_a_range_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        FeatureConfig("rgb", 4, **settings)


def test_unknown_keys_are_refused_by_name_and_file():
    values = to_dict(load_experiment("demo"))
    values["training"]["epohs"] = 3
    with pytest.raises(ConfigError, match=r"run/config\.json: .*epohs.*training"):
        from_dict(Experiment, values, "run/config.json")


def test_settings_of_another_family_are_refused():
    with pytest.raises(ConfigError, match="netvlad takes NetVLADConfig, not AverageConfig"):
        ModelConfig("netvlad", AverageConfig())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": ()}, "dataset.features must be a tuple of 1 or more values"),
        ({"features": (FeatureConfig("a", 4), FeatureConfig("b", 4, "float32"))}, "share one dtype"),
        ({"holdout_percent": 100}, "holdout-percent"),
        ({"train_splits": ("train", "holdout")}, "the name of the hold-out"),
    ],
)
def test_a_dataset_that_cannot_be_is_refused(change, message):
    dataset = DatasetConfig("d", (FeatureConfig("rgb", 4),), 3)
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(dataset, **change)


def test_differences_name_each_field_with_both_values():
    old = to_dict(ModelConfig("netvlad", NetVLADConfig((8,))))
    new = to_dict(ModelConfig("average", AverageConfig()))
    assert differences(old, new) == [
        "family: netvlad -> average",
        "pooling.clusters: [8] -> None",
        "pooling.statistics: None -> mean",
    ]
    assert differences(old, old) == []


def test_one_of_suggests_the_nearest_name():
    with pytest.raises(ConfigError, match=r"unknown split 'tset'\. Did you mean test\? There are: train, test"):
        find_by_name("tset", {"train": 1, "test": 2}, "split")
