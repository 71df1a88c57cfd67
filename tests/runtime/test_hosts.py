"""Hosts that train together: they find each other, agree, stop at one step, hear of a loss, and go on as others."""

import signal
import sys
import time
import types

import numpy as np
import pytest
from fixtures.hosts import PATIENCE, assert_same, begun_hosts, make_dataset, told_by, train_on_devices
from fixtures.support import TINY

from pipeline.config.errors import ConfigError, StageError
from pipeline.models import FAMILIES
from pipeline.runtime import hosts as runtime_hosts

LAUNCHERS = {
    "Slurm": {"SLURM_STEP_NODELIST": "node[1-2]", "SLURM_PROCID": "0", "SLURM_NTASKS": "2"},
    "Open MPI": {"OMPI_COMM_WORLD_SIZE": "2"},
}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for variables in LAUNCHERS.values():
        for variable in variables:
            monkeypatch.delenv(variable, raising=False)


# ------------------------------------------------------------------------------------------------------ without others


def test_one_host_needs_no_backend_to_agree():
    with runtime_hosts.joined() as here:
        assert here.is_first
        assert here.agree(15) == 15
        assert here.tell({"step": 3}) == {"step": 3}
        assert here.gather(np.array([1, 2])).tolist() == [[1, 2]]
        here.check_shared("runs", 4)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_of_several_processes_is_found(monkeypatch, launcher):
    for variable, value in LAUNCHERS[launcher].items():
        monkeypatch.setenv(variable, value)
    assert runtime_hosts._launcher() == launcher
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    with pytest.raises(ConfigError, match="set KERAS_BACKEND=jax, or --hosts 1 to train alone"), runtime_hosts.joined():
        pass
    with runtime_hosts.joined(hosts=1) as here:
        assert here.count == 1


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_of_one_process_is_none(monkeypatch, launcher):
    for variable, value in LAUNCHERS[launcher].items():
        monkeypatch.setenv(variable, value.replace("2", "1") if value == "2" else value)
    assert runtime_hosts._launcher() is None


def test_a_task_of_ray_is_alone_whatever_started_ray(monkeypatch):
    for variable, value in LAUNCHERS["Slurm"].items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setitem(sys.modules, "ray", types.SimpleNamespace(is_initialized=lambda: True))
    assert runtime_hosts._launcher() is None


def test_what_is_missing_is_named():
    wanted = "--cluster, --host without --hosts: outside of Slurm, Open MPI and Kubernetes give all"
    with pytest.raises(ConfigError, match=wanted), runtime_hosts.joined("node1:9000", host=0):
        pass


@pytest.mark.parametrize(
    ("error", "is_loss"),
    [
        (RuntimeError("UNKNOWN: Gloo all-reduce failed: Connection reset by peer"), True),
        (ValueError("UNKNOWN: AllGather failed: [external/gloo/gloo/transport/tcp/pair.cc:538] Read error"), True),
        (RuntimeError("INVALID_ARGUMENT: shapes do not fit"), False),
        (StageError("the loss became nan: gloo"), False),
    ],
)
def test_what_says_that_a_host_is_gone(error, is_loss):
    assert (runtime_hosts._loss(error) is not None) == is_loss


def test_a_host_beyond_the_last_is_refused():
    wanted = "--host 2 of --hosts 2: hosts are counted from 0 to 1"
    with pytest.raises(ConfigError, match=wanted), runtime_hosts.joined("node1:9000", 2, 2):
        pass


def test_a_folder_that_is_not_shared_is_named(monkeypatch):
    here = runtime_hosts.Hosts(2, 0)
    monkeypatch.setattr(runtime_hosts.Hosts, "gather", lambda *_: np.array([7, 0]))
    with pytest.raises(StageError, match="runs/x is not the same on all hosts"):
        here.check_shared("runs/x", 7)


@pytest.mark.parametrize(
    ("variables", "devices"),
    [
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "1", "CUDA_VISIBLE_DEVICES": "2,3"}, [0, 1]),
        ({"SLURM_NTASKS": "2", "SLURM_STEP_NUM_NODES": "2", "CUDA_VISIBLE_DEVICES": "0,1,2,3"}, [0, 1, 2, 3]),
        ({"SLURM_NTASKS": "8", "SLURM_STEP_NUM_NODES": "2", "CUDA_VISIBLE_DEVICES": "0,1,2,3"}, None),
    ],
)
def test_a_process_that_is_alone_on_its_host_takes_all_devices(monkeypatch, variables, devices):
    monkeypatch.setattr(runtime_hosts.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert runtime_hosts._own_devices() == devices


# ---------------------------------------------------------------------------------------------------------- with others


AVERAGE = ("--model", "average", "--training.checkpoint-steps", 1)


def wait_for_checkpoint(folder, run, hosts):
    """Wait until a run has one, and its hosts are at work."""
    deadline = time.monotonic() + PATIENCE
    while not (folder / "runs/tiny" / run / "checkpoint.npz").exists():
        assert time.monotonic() < deadline, "no checkpoint"
        assert all(host.poll() is None for host in hosts), told_by(hosts)
        time.sleep(0.2)


def train_alone(folder, run, *arguments):
    train_on_devices(folder, [[*map(str, arguments), "--run", run]], 1)


@pytest.mark.wide
def test_two_hosts_stop_at_one_step_and_one_goes_on_as_if_alone_all_the_time(tmp_path):
    make_dataset(tmp_path)
    arguments = (*AVERAGE, "--training.epochs", 2)
    with begun_hosts(tmp_path, 2, *arguments, "--run", "two") as hosts:
        wait_for_checkpoint(tmp_path, "two", hosts)
        hosts[1].send_signal(signal.SIGTERM)
        told = told_by(hosts)
    assert [host.returncode for host in hosts] == [128 + signal.SIGTERM] * 2, told
    assert all("stopped by SIGTERM; the same command goes on from here" in each for each in told)
    train_on_devices(tmp_path, [list(map(str, (*arguments, "--run", run))) for run in ("one", "two")], 1)
    assert_same(tmp_path, "one", "two")


@pytest.mark.long
@pytest.mark.parametrize("lost", [0, 2])
def test_three_hosts_of_which_one_is_killed_and_two_go_on(tmp_path, lost):
    make_dataset(tmp_path)
    arguments = (*AVERAGE, "--training.epochs", 3)
    with begun_hosts(tmp_path, 3, *arguments, "--run", "three") as hosts:
        wait_for_checkpoint(tmp_path, "three", hosts)
        time.sleep(float(np.random.default_rng().uniform(0, 2)))
        hosts[lost].kill()
        began = time.monotonic()
        told = told_by(hosts)
        assert time.monotonic() - began < 60
    for host, process in enumerate(hosts):
        if host != lost:
            assert process.returncode not in (0, None)
            assert "another host is gone" in told[host] or "another task died" in told[host], told[host]
    with begun_hosts(tmp_path, 2, *arguments, "--run", "three", devices=2) as hosts:
        told = told_by(hosts)
    assert [host.returncode for host in hosts] == [0, 0], told
    assert "resuming at step" in told[0]
    train_alone(tmp_path, "one", *arguments)
    assert_same(tmp_path, "one", "three")


@pytest.mark.long
@pytest.mark.parametrize(("family", "count"), [*((family, 2) for family in FAMILIES), ("netvlad", 3)])
def test_hosts_learn_what_one_does(tmp_path, family, count):
    """The losses of each of 20 steps, and the hold-out's GAP."""
    make_dataset(tmp_path, TINY.replace("batch_size=16", "batch_size=12"))
    arguments = ("--model", family, "--training.epochs", 1.65, "--training.checkpoint-steps", 1)
    with begun_hosts(tmp_path, count, *arguments, "--run", "several") as hosts:
        told = told_by(hosts)
    assert [host.returncode for host in hosts] == [0] * count, told
    train_alone(tmp_path, "one", *arguments)
    assert_same(tmp_path, "one", "several")
