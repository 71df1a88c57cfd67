"""Stored models: known by what they hold; of the snapshots, the last ones are kept."""

import zipfile
import zlib

import keras
import numpy as np
import pytest

from pipeline.artifacts.done import digest_json
from pipeline.artifacts.models import Snapshots, digest_model, is_model, list_snapshots, step_of, store_model
from pipeline.config.errors import StageError


def dense(activation: str = "relu") -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((2,), name="inputs"), keras.layers.Dense(3, activation, name="dense")], name="model"
    )


@pytest.fixture
def model() -> keras.Model:
    return dense()


def test_a_model_is_known_by_what_it_is_and_not_by_when_it_was_stored(model, tmp_path):
    stored = {"one": model, "again": dense(), "other": dense("tanh"), "trained": dense()}
    stored["trained"].layers[0].bias.assign([0.0, 0.5**20, 0.0])
    for name, each in stored.items():
        store_model(tmp_path / f"{name}.keras", each)
    with zipfile.ZipFile(tmp_path / "one.keras") as one, zipfile.ZipFile(tmp_path / "later.keras", "w") as later:
        for name in one.namelist():
            later.writestr(name, one.read(name) if name != "metadata.json" else b'{"date_saved": "later"}')
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted([*stored, "later"]), "no temporary files"
    digests = {path.stem: digest_model(path) for path in tmp_path.iterdir()}
    assert digests["one"] == digests["again"] == digests["later"]
    assert len(set(digests.values())) == 3
    weights = keras.saving.load_model(tmp_path / "trained.keras").get_weights()
    np.testing.assert_array_equal(weights[1], [0, 0.5**20, 0])


def test_a_damaged_model_is_named(model, tmp_path):
    path = tmp_path / "model.keras"
    store_model(path, model)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StageError, match=r"model\.keras is not a stored model .* --force"):
        digest_model(path)


def test_the_last_snapshots_are_kept(model, tmp_path):
    snapshots = Snapshots(tmp_path, kept=2, from_step=0)
    for step in (5, 10, 100):
        snapshots.add(step, model)
    assert [step_of(path) for path in list_snapshots(tmp_path)] == [10, 100]
    # Killed, and gone on with from the checkpoint of step 50.
    (tmp_path / "snapshots" / ".step-000000100.keras.999999999.part").touch()
    snapshots = Snapshots(tmp_path, kept=2, from_step=50)
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["step-000000010.keras"]
    snapshots.add(100, model)
    assert [step_of(path) for path in list_snapshots(tmp_path)] == [10, 100]


def test_none_are_kept_unless_asked_for(model, tmp_path):
    Snapshots(tmp_path, kept=0, from_step=0).add(5, model)
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_known_wherever_its_code_lies(tmp_path):
    """The digest leaves out where the pipeline's modules lie; that of version 0.1.0 did not, and is known too."""
    stored = {}
    for module in ("pipeline.models.netvlad", "pipeline.elsewhere"):
        stored[module] = tmp_path / f"{module}.keras"
        with zipfile.ZipFile(stored[module], "w") as archive:
            archive.writestr("config.json", f'{{"module": "{module}", "class_name": "NetVLAD", "shared_object_id": 7}}')
            archive.writestr("model.weights.h5", b"weights")
    here, there = stored.values()
    assert digest_model(here) == digest_model(there)
    older = digest_json('{"module": "pipeline.models.netvlad", "class_name": "NetVLAD", }', zlib.crc32(b"weights"))
    assert is_model(here, digest_model(there)) and is_model(here, older)
    assert not is_model(there, older) and not is_model(here, "another")
