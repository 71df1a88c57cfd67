"""What a user sees when the backend starts."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version

import pytest
from fixtures.support import OTHER_BACKENDS, ROOT

from pipeline.config import ConfigError
from pipeline.config.errors import StageError
from pipeline.runtime import backend, devices


@pytest.mark.wide
@pytest.mark.parametrize("name", ["tensorflow", *OTHER_BACKENDS])
def test_one_line_says_what_it_runs_on(name):
    environment = {**os.environ, "KERAS_BACKEND": name, "TF_CPP_MIN_LOG_LEVEL": "0", "PATH": ""}
    environment.pop("XLA_FLAGS", None)
    command = [
        sys.executable,
        "-c",
        "from pipeline.runtime import backend as b; b.start_backend(); print(b.describe_machine())\n"
        "import keras\nwith b.no_gradients(): print(getattr(keras.Variable([1.0]) * 2, 'requires_grad', False))",
    ]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0
    started, machine, gradients = result.stdout.splitlines()
    assert started.startswith(f"{name} on ") and machine.startswith(f"{name} on ")
    assert machine.endswith(f", {platform.system()} {platform.machine()}")
    assert gradients == "False"
    assert result.stderr == ""


def test_a_machine_is_told_by_its_devices(monkeypatch):
    monkeypatch.setattr(devices, "kinds_of", lambda name: ["NVIDIA H100", "NVIDIA H100", "TPU v5"])
    assert " on 2 NVIDIA H100, TPU v5, " in backend.describe_machine()


def test_what_was_held_back_is_shown_when_it_fails():
    script = (
        "import os\nfrom pipeline.runtime.backend import _held_back\n"
        "with _held_back():\n    os.write(2, b'a notice')\n    raise RuntimeError('broken')\n"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert "a notice" in result.stderr and "RuntimeError: broken" in result.stderr


@pytest.mark.wide
def test_a_driver_without_a_gpu_shows_what_was_held_back(tmp_path):
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\n")
    driver.chmod(0o755)
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "0", "PATH": str(tmp_path)}
    environment["CUDA_VISIBLE_DEVICES"] = "-1"
    command = [sys.executable, "-c", "from pipeline.runtime import backend; backend.start_backend()"]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "no GPU was found: see above" in result.stderr
    assert "port.cc" in result.stderr or "cuda" in result.stderr.lower()
    assert result.stdout.startswith("tensorflow on ")


@pytest.mark.wide
def test_for_graphs_it_is_tensorflow_without_a_word():
    environment = {**os.environ, "KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "0"}
    script = "from pipeline.runtime import backend; backend.start_tracing()\n"
    script += "import keras; print(keras.backend.backend())"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "tensorflow\n", "")


@pytest.mark.wide
def test_what_was_imported_is_not_looked_at_by_the_collector_and_logs_errors_alone():
    script = (
        "import gc\nfrom pipeline.runtime import backend\nbackend.start_backend()\nfrozen = gc.get_freeze_count()\n"
        "backend.start_backend()\nprint(gc.isenabled(), frozen > 100_000, gc.get_freeze_count() <= frozen)"
    )
    script += (
        "\nimport tensorflow as tf\nfor n in range(1, 9):\n"
        "    tf.function(lambda x: x * 2, jit_compile=True)(tf.ones(n))"
        "\ntf.get_logger().warning('of no use')\ntf.get_logger().error('of use')"
    )
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    del environment["TF_CPP_MIN_LOG_LEVEL"]
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "True True True", result.stderr
    told = result.stderr.splitlines()
    if version("tensorflow").startswith(("2.19.", "2.20.")):  # XLA of these tells once that it begins
        told = [line for line in told if not line.startswith(("I0000 ", "WARNING: All log messages before absl"))]
    assert told == ["ERROR:tensorflow:of use"]


def only(monkeypatch, *names: str) -> None:
    """Of the backends these alone are installed."""
    monkeypatch.setattr(backend, "is_installed", names.__contains__)


@pytest.mark.parametrize("name", ["theano", "pytorch", "openvino", "nonsense", "Jax"])
def test_a_backend_of_another_project_is_refused_by_its_name(monkeypatch, name):
    monkeypatch.setenv("KERAS_BACKEND", name)
    with pytest.raises(ConfigError, match=f"KERAS_BACKEND is {name}: set it to tensorflow, jax or torch, or unset it"):
        backend.check_backend()
    only(monkeypatch, *backend.BACKENDS)
    for good in ("", *backend.BACKENDS):
        monkeypatch.setenv("KERAS_BACKEND", good)
        backend.check_backend(needed=True)
        assert os.environ["KERAS_BACKEND"] == good


@pytest.mark.parametrize("name", backend.BACKENDS)
def test_a_backend_that_is_not_installed_is_told_with_the_command_that_installs_it(monkeypatch, name):
    others = [each for each in backend.BACKENDS if each != name]
    monkeypatch.setenv("KERAS_BACKEND", name)
    for there, told in ((others, f"; or set KERAS_BACKEND to what is installed: {' or '.join(others)}"), ((), "")):
        only(monkeypatch, *there)
        with pytest.raises(ConfigError) as error:
            backend.check_backend()
        install = f"run .venv/bin/uv sync --inexact --extra {name}"
        assert str(error.value) == f"KERAS_BACKEND is {name}, which is not installed: {install}{told}"


def test_without_a_name_it_is_the_first_that_is_installed(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    for there, chosen in (
        (("tensorflow", "torch"), None),  # Keras's own default
        (("jax", "torch"), "jax"),
        (("torch",), "torch"),
    ):
        with monkeypatch.context() as patch:
            only(patch, *there)
            patch.setenv("KERAS_BACKEND", "")
            backend.check_backend()
            assert os.environ["KERAS_BACKEND"] == (chosen or "")


def test_what_needs_tensorflow_itself_says_so(monkeypatch):
    only(monkeypatch, "jax", "torch")
    for start in (backend.start_tracing, lambda: backend.check_tensorflow("cost")):
        with pytest.raises(ConfigError) as error:
            start()
        told = "cost needs TensorFlow, which is not installed: .venv/bin/uv sync --inexact --extra tensorflow"
        assert str(error.value) == told


def test_threads_sleep_while_they_wait_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    backend._prepare()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    backend._prepare()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_where_none_is_installed_what_needs_one_names_all_three(monkeypatch):
    only(monkeypatch)
    monkeypatch.setenv("KERAS_BACKEND", "")
    backend.check_backend()  # indexing and the like need none
    with pytest.raises(ConfigError) as error:
        backend.start_backend()
    for named in ("--extra tensorflow", "jax", "torch", "KERAS_BACKEND"):
        assert named in str(error.value)
    assert "\n" not in str(error.value)


def test_a_backend_that_cannot_start_names_what_is_set_for_it_but_no_secret(monkeypatch):
    def fail(name):
        raise RuntimeError("Unable to initialize backend 'nonsense'")

    monkeypatch.setattr(devices, "names_of", fail)
    monkeypatch.setenv("JAX_PLATFORMS", "nonsense")
    monkeypatch.setenv("TF_VAR_password", "xyzzy")
    with pytest.raises(
        StageError, match=r"cannot start \(RuntimeError: Unable to .*\); mend .* JAX_PLATFORMS"
    ) as error:
        backend.start_backend()
    assert "xyzzy" not in str(error.value)


@pytest.mark.parametrize(("name", "variable"), [("tensorflow", "TF_XLA_FLAGS"), ("jax", "XLA_FLAGS")])
def test_flags_that_end_the_process_are_named(monkeypatch, capfd, name, variable):
    """Nothing is held back where they are set: a process that is ended shows nothing afterwards."""
    for each in ("TF_XLA_FLAGS", "XLA_FLAGS"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv("KERAS_BACKEND", name)
    for flags, shown in (("", ""), ("--nonsense=3", "Unknown flag")):
        monkeypatch.setenv(variable, flags)
        with backend._held_back():
            os.write(2, b"Unknown flag")
            assert capfd.readouterr().err == shown
        capfd.readouterr()
