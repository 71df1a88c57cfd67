"""Devices: how many are taken, and what is refused before work begins."""

import types

import keras
import pytest
from fixtures.hosts import assert_same, make_dataset, results_of, train_on_devices
from fixtures.support import TINY

from pipeline.config.errors import StageError
from pipeline.models import FAMILIES
from pipeline.runtime import backend, devices


@pytest.fixture
def seen(monkeypatch):
    """Lets a backend see a number of devices."""

    def see(backend: str, number: int) -> None:
        monkeypatch.setattr(keras.backend, "backend", lambda: backend)
        monkeypatch.setattr(devices, "_seen", lambda _: number)

    return see


@pytest.mark.parametrize("chosen", ["all", "1"])
def test_one_device_needs_no_distribution(seen, chosen):
    seen("tensorflow", 1)
    devices.spread(chosen, "training.devices", 7)
    assert keras.distribution.distribution() is None
    assert devices.shares() == 1


def test_one_of_several_may_be_chosen_on_any_backend(seen):
    seen("tensorflow", 8)
    devices.spread("1", "training.devices", 7)
    assert devices.shares() == 1


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_more_devices_than_are_seen_are_refused(seen, backend):
    seen(backend, 2)
    with pytest.raises(StageError, match=f"--training.devices 3: {backend} sees 2 devices here. Choose .* 2 or less"):
        devices.spread("3", "training.devices", 6)


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
@pytest.mark.parametrize(("chosen", "remedy"), [("all", "to use all"), ("8", "to use all"), ("2", "to use 2")])
def test_one_of_several_is_never_used_silently(seen, backend, chosen, remedy):
    seen(backend, 8)
    with pytest.raises(StageError, match=f"sees 8 devices.* Set KERAS_BACKEND=jax {remedy}, or .*inference.devices 1"):
        devices.spread(chosen, "inference.devices")


@pytest.mark.parametrize(("size", "fitting"), [(64, "63 or 66"), (2, "3")])
def test_a_batch_that_devices_cannot_share_is_refused(seen, size, fitting):
    seen("jax", 3)
    with pytest.raises(StageError, match=f"{size} videos cannot be shared evenly by 3 devices.*batch-size {fitting},"):
        devices.spread("all", "training.devices", size)


def test_a_stage_does_not_keep_the_devices_of_the_one_before():
    """`run_all` runs all in one process, and `report` predicts few videos on one device."""
    keras.distribution.set_distribution(types.SimpleNamespace(num_model_replicas=8))
    assert devices.shares() == 8
    backend.start_backend()
    assert devices.shares() == 1


STEPS = ("--training.epochs", 0.4, "--training.checkpoint-steps", 2)


def trainings(families, numbers, *arguments):
    return [
        ["--model", family, "--run", f"{family}-{number}", "--training.devices", str(number), *map(str, arguments)]
        for family in families
        for number in numbers
    ]


@pytest.mark.wide
def test_two_devices_learn_what_one_does(tmp_path):
    make_dataset(tmp_path)
    families = ("average", "netvlad")
    train_on_devices(tmp_path, trainings(families, (1, 2), *STEPS), 2)
    for family in families:
        assert_same(tmp_path, f"{family}-1", f"{family}-2")
    config = (tmp_path / "runs/tiny/netvlad-2/config.json").read_text()
    assert "devices" not in config, "they are no part of what identifies a run"


def test_a_run_that_is_there_stays_where_devices_are_refused(tmp_path, stage):
    """Even with --force: what is refused is refused before anything is deleted."""
    make_dataset(tmp_path)
    run = tmp_path / "runs" / "tiny" / "average"
    run.mkdir(parents=True)
    (run / "config.json").write_text('{"inputs": {}}')
    (run / "model.keras").write_text("weights")
    arguments = ("--preset", tmp_path / "tiny.py", "--model", "average", "--force", "--training.devices", 2)
    result = stage("train", *arguments, check=False)
    assert result.returncode == 1
    assert "--training.devices 2: tensorflow sees 1 device here" in result.stderr
    assert (run / "model.keras").read_text() == "weights"


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_learns_the_same_on_one_two_and_four_devices(tmp_path, family):
    """The losses of each of 20 steps, and the hold-out's GAP."""
    make_dataset(tmp_path, TINY.replace("batch_size=16", "batch_size=12"))
    longer = ("--training.epochs", 1.6, "--training.checkpoint-steps", 1)
    train_on_devices(tmp_path, trainings([family], (1, 2, 4), *longer), 4)
    assert len(results_of(tmp_path, f"{family}-1")[0]) >= 20
    for number in (2, 4):
        assert_same(tmp_path, f"{family}-1", f"{family}-{number}")
