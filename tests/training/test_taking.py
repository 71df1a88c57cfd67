"""Layers of another model: taken where name, kind and all shapes agree, told why where not."""

import dataclasses

import numpy as np
import pytest
from fixtures.support import SMALL

from pipeline.config import POOLING, ClassifierConfig, ModelConfig
from pipeline.models import build_model
from pipeline.training.taking import take_layers, with_weights

CLASSIFIER = ClassifierConfig(hidden=8, gating="none", head="logistic")


def model_of(family="average", dataset=SMALL, **changes):
    return build_model(
        ModelConfig(family, POOLING[family](), dataclasses.replace(CLASSIFIER, **changes)),
        dataclasses.replace(SMALL, **dataset) if isinstance(dataset, dict) else dataset,
    )


@pytest.mark.parametrize(
    ("source", "same", "faults"),
    [
        ({}, True, {}),
        ({}, False, {"head": "the classes are others"}),
        ({"dataset": {"num_classes": 7}}, False, {"head": "the classes are others, 8x7 7 there"}),
        (
            {"hidden": 4, "head": "moe"},
            True,
            {
                "hidden": "8x4 there",
                "hidden_norm": "4 4 4 4 there",
                "head": "its kind is MixtureOfExperts there, Logistic here",
            },
        ),
        ({"hidden": 0}, True, {"hidden": "there is no such layer", "hidden_norm": "there is no such layer"}),
    ],
    ids=["equal", "other classes of equal number", "fewer classes", "other sizes", "no hidden layer"],
)
def test_what_fits_is_taken_and_the_rest_is_left_alone(source, same, faults):
    source, model = model_of(**source), model_of()
    before = {layer.name: layer.get_weights() for layer in model.layers}
    found = take_layers(source, model, {}, same)
    assert {each.name: each.fault for each in found if not each.fits} == faults
    assert [each.name for each in found] == [layer.name for layer in with_weights(model)]
    for each in found:
        expected = source.get_layer(each.name).get_weights() if each.fits else before[each.name]
        for one, other in zip(model.get_layer(each.name).get_weights(), expected, strict=True):
            np.testing.assert_array_equal(one, other)
        assert each.parameters == sum(int(np.prod(shape)) for shape in each.shapes)


def test_layers_of_a_feature_of_another_name_are_found():
    features = (dataclasses.replace(SMALL.features[0], name="frames"), SMALL.features[1])
    source, model = model_of("netvlad"), model_of("netvlad", {"features": features})
    names = {f"feature_0_{part}": f"rgb_{part}" for part in ("norm", "pooling")}
    assert all(each.fits for each in take_layers(source, model, names, True))
    for one, other in zip(model.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert "feature_0_norm" in {each.name for each in take_layers(source, model, {}, True) if not each.fits}
