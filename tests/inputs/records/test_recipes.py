"""A record says by which recipe its features were made, and is not read as one of another recipe."""

import dataclasses

import numpy as np
import pytest

from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.inputs.records.encoding import encode_sequence_example
from pipeline.inputs.records.parsing import ParseError, parse_features, parse_record
from pipeline.inputs.records.recipes import recipes_of

RGB = FeatureConfig("rgb", 2, made_by='{"name": "a"}')


def declared(made_by: str) -> DatasetConfig:
    return DatasetConfig("d", (dataclasses.replace(RGB, made_by=made_by), FeatureConfig("audio", 1)), 3)


@pytest.mark.parametrize("parse", [parse_record, parse_features])
def test_features_of_another_recipe_are_refused(parse):
    frames = {"rgb": np.ones((2, 2), np.uint8), "audio": np.ones((2, 1), np.uint8)}
    payload = encode_sequence_example({"id": "v", **recipes_of([RGB, FeatureConfig("audio", 1)])}, frames)
    silent = encode_sequence_example({"id": "v"}, frames)
    for made_by in ('{"name": "a"}', ""):
        parse(payload, declared(made_by))
    parse(silent, declared('{"name": "b"}'))
    with pytest.raises(ParseError, match=r'rgb was made by \{"name": "a"\}, and the dataset declares \{"name": "b"\}'):
        parse(payload, declared('{"name": "b"}'))
