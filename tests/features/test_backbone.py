"""What a backbone is, as JSON and as options."""

import json
from fractions import Fraction

import pytest

from pipeline.config import ConfigError
from pipeline.features.backbone import Backbone, Recipe, described_beside, with_options

WHOLE = Backbone(name="a", file="a.onnx", sha256="0" * 64, mean=(104, 117.5, 123), scale=2, resize=256)


def test_a_recipe_is_read_back_from_its_text():
    text = Recipe(WHOLE, Fraction(5, 2)).text()
    assert Recipe.of_text(text) == Recipe(WHOLE, Fraction(5, 2))
    assert json.loads(text)["mean"] == [104.0, 117.5, 123.0] and "layout" not in json.loads(text)
    assert Recipe(with_options(WHOLE, {"mean": [104.0, 117.5, 123.0], "scale": 2.0}), Fraction(5, 2)).text() == text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"fps": "x"}', '{"name": "a", "file": "b", "fps": 1, "zoom": 2}'])
def test_what_is_no_recipe_is_refused(text):
    with pytest.raises(ConfigError, match="made_by"):
        Recipe.of_text(text)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mean": [1, 2]}, "mean must be 1 or 3 numbers, not 2"),
        ({"deviation": [0]}, "deviation must not be 0"),
        ({"task": "audio", "window": 0}, "window must be more than 0"),
        ({"resize": 100}, "resize, 100, must not be less than the 224 by 224"),
        ({"layout": "nwhc"}, "layout must be one of nchw, nhwc"),
        ({"sha256": "12"}, "a SHA-256 in 64 hexadecimal digits"),
        ({"zoom": 2}, "zoom"),
    ],
)
def test_wrong_values_are_named(values, message, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=message):
        described_beside(tmp_path / "a.onnx", {})
    with pytest.raises(ConfigError, match=message):
        with_options(Backbone(name="a", file="a"), values)


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_json_that_is_none_is_named(text, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ConfigError, match=r"a\.json"):
        described_beside(tmp_path / "a.onnx", {})
