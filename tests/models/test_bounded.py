"""Models that are loaded: no larger than their file, and whatever is wrong with it is one line."""

import json
import zipfile

import keras
import pytest

from pipeline.artifacts.models import digest_model
from pipeline.config.errors import StageError
from pipeline.models import load_model
from pipeline.models.bounded import at_most


@pytest.fixture
def stored(tmp_path):
    """A model of one layer, 3 values to 2."""
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((3,), name="a"), keras.layers.Dense(2, name="dense")], name="model").save(path)
    return path


def rewrite(path, config) -> None:
    """Have `config` change the description of the architecture."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries["config.json"] = config(entries["config.json"])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def test_a_model_is_loaded_as_it_was_stored(stored):
    before = keras.saving.load_model(stored, compile=False)
    for here, there in zip(load_model(stored).get_weights(), before.get_weights(), strict=True):
        assert (here == there).all()


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (lambda text: text.replace(b'"units": 2', b'"units": 1048576'), "a larger model than it holds"),
        (lambda text: text.replace(b'"units": 2', b'"units": -1'), "cannot be loaded as a model"),
        (lambda text: text.replace(b'"units": 2', b'"units": 5'), "cannot be loaded as a model"),
        (lambda text: text.replace(b'"Dense"', b'"Lambda"'), "cannot be loaded as a model"),
        (lambda text: b"<html>", "cannot be loaded as a model"),
        (lambda text: b"[" * 1_000_000, "RecursionError"),
        (lambda text: json.dumps({"module": "os", "class_name": "system", "config": {}}).encode(), "cannot be loaded"),
    ],
)
def test_what_a_description_asks_for_is_refused(stored, config, told):
    rewrite(stored, config)
    original = keras.layers.Layer.add_weight
    with pytest.raises(StageError, match=r"model\.keras cannot be loaded as a model \(.*--force") as error:
        load_model(stored)
    assert told in str(error.value) and "\n" not in str(error.value)
    assert keras.layers.Layer.add_weight is original


def test_a_description_that_inflates_is_not_read(stored):
    rewrite(stored, lambda text: b" " * (65 << 20))
    with pytest.raises(StageError, match="more than 64 MiB"):
        digest_model(stored)


def test_neither_more_weights_nor_more_values_are_built():
    for weights, values in ((1, 100), (2, 7)):
        with pytest.raises(ValueError, match="larger model"), at_most(weights, values):
            keras.layers.Dense(2).build((None, 3))
    with at_most(2, 8):
        keras.layers.Dense(2).build((None, 3))
