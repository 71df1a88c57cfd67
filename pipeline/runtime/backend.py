"""The start of Keras and its backend: what it runs on, without the notices that TensorFlow prints on the way."""

import collections
import contextlib
import gc
import importlib.util
import logging
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator

from pipeline.config.errors import ConfigError, StageError
from pipeline.config.wording import counted
from pipeline.runtime import devices
from pipeline.runtime.parallel import default_workers

BACKENDS = ("tensorflow", "jax", "torch")
"""What the models run on. The first one that is installed is the default; each is an extra of its name."""
_ALL = f"{', '.join(BACKENDS[:-1])} or {BACKENDS[-1]}"
_VARIABLES = ("KERAS_BACKEND", "KERAS_TORCH", "TF_", "XLA_", "JAX_", "TORCH_", "PYTORCH_", "CUDA_", "LD_LIBRARY_PATH")
"""Names of what may be set for a backend begin with these."""


def check_backend(needed: bool = False) -> None:
    """Choose the backend before anything imports Keras: that of KERAS_BACKEND, or else the first that is installed.

    KERAS_BACKEND is set where Keras's own default, TensorFlow, is not installed, and another one is.

    Args:
        needed: whether it is an error that none is installed.
    Raises:
        ConfigError: KERAS_BACKEND is none that the models run on, as it is often set for another project, or one that
            is not installed; or none is installed.
    """
    name = os.environ.get("KERAS_BACKEND")
    if name and name not in BACKENDS:
        raise ConfigError(f"KERAS_BACKEND is {name}: set it to {_ALL}, or unset it for the first that is installed")
    there = [each for each in BACKENDS if is_installed(each)]
    if name and name not in there:
        here = f"; or set KERAS_BACKEND to what is installed: {' or '.join(there)}" if there else ""
        raise ConfigError(f"KERAS_BACKEND is {name}, which is not installed: run {_install(name)}{here}")
    if needed and not there:
        raise ConfigError(
            f"no backend is installed ({_ALL}): run {_install(BACKENDS[0])}, or with {' or '.join(BACKENDS[1:])} in "
            "its place; KERAS_BACKEND chooses among several"
        )
    if not name and there and there[0] != BACKENDS[0]:
        os.environ["KERAS_BACKEND"] = there[0]


def check_tensorflow(what: str) -> None:
    """Raise ConfigError if TensorFlow is not installed, which `what` needs whatever the backend."""
    if not is_installed("tensorflow"):
        raise ConfigError(f"{what} needs TensorFlow, which is not installed: {_install('tensorflow')}")


def is_installed(name: str) -> bool:
    """Return whether a package can be imported; it is not, since that takes seconds."""
    return importlib.util.find_spec(name) is not None


def _install(extra: str) -> str:
    return f".venv/bin/uv sync --inexact --extra {extra}"


def _prepare() -> None:
    """Set what a backend reads when it is imported, unless the user has.

    TensorFlow logs errors alone; with a GPU's driver also why it finds no GPU. PyTorch's threads sleep while they wait
    for each other. By default they spin, and where a processor also reads batches, or has other work, each operation
    then waits until the system gives all of them one: ten times as long as the work itself.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "1" if shutil.which("nvidia-smi") else "2"
        logging.getLogger("tensorflow").setLevel(logging.ERROR)


def start_backend() -> None:
    """Import Keras and its backend, and print which devices there are.

    TensorFlow's start-up notices go to the standard error before any setting of it is read. They are held back, and
    shown after all where they matter: the import fails, or there is an NVIDIA driver and no GPU was found.

    Raises:
        ConfigError: as `check_backend`.
        StageError: the backend cannot start; the message names what is set for it.
    """
    check_backend(needed=True)
    _prepare()
    try:
        with _held_back() as notices:
            with _uncollected():
                import keras

            keras.distribution.set_distribution(None)  # of an earlier stage of this process; see `devices.spread`
            name = keras.backend.backend()
            there = devices.names_of(name)
    except Exception as error:
        set_for_it = [name for name in sorted(os.environ) if name.startswith(_VARIABLES)]
        remedy = f"; mend or unset what is wrong of {', '.join(set_for_it)}" if set_for_it else ""
        backend = os.environ.get("KERAS_BACKEND") or BACKENDS[0]
        raise StageError(f"{backend} cannot start ({type(error).__name__}: {error}){remedy}") from error
    if not there and shutil.which("nvidia-smi"):
        sys.stderr.write("".join(notices))
        print("an NVIDIA driver is here, but no GPU was found: see above", file=sys.stderr)
    print(f"{name} on {', '.join(there) or counted(default_workers(), 'processor')}", flush=True)


def start_tracing() -> None:
    """Import Keras on TensorFlow, whatever backend is set, to look at graphs: no GPU is taken, nothing is printed.

    Raises ConfigError if it is not installed.
    """
    check_tensorflow("cost")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    _prepare()
    with _held_back():
        with _uncollected():
            import keras  # noqa: F401
        import tensorflow as tf

        # Where there is a GPU a recurrent layer is one operation of cuDNN's, and what it does is not in the graph.
        tf.config.set_visible_devices([], "GPU")


def describe_machine() -> str:
    """Return the backend, what it runs on, and the system: `tensorflow on 2 processors, Linux x86_64`."""
    import keras

    name = keras.backend.backend()
    kinds = collections.Counter(devices.kinds_of(name))
    there = [f"{number} {kind}" if number > 1 else kind for kind, number in kinds.items()]
    on = ", ".join(there) or counted(default_workers(), "processor")
    return f"{name} on {on}, {platform.system()} {platform.machine()}"


@contextlib.contextmanager
def no_gradients() -> Iterator[None]:
    """What is called inside keeps nothing for gradients, as PyTorch does by default: memory for every layer."""
    import keras

    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    with torch.no_grad():
        yield


def forget_models() -> None:
    """Free what Keras keeps of models that are no longer used, and name the next model's layers as the first one's."""
    if keras := sys.modules.get("keras"):
        if keras.backend.backend() == "tensorflow":
            _forget_gradients()
        keras.utils.clear_session()


def _forget_gradients() -> None:
    """Take the custom gradients of traced graphs out of TensorFlow's registry, which keeps all of them, and so graphs.

    There is no public way to do so. Where the registry looks otherwise, memory grows by some 40 MB from model to model.
    """
    from tensorflow.python.framework import ops

    registry = getattr(ops.gradient_registry, "_registry", {})
    for name in [name for name in registry if name.startswith("CustomGradient-")]:
        del registry[name]


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """What is imported here stays, and the garbage collector need not look at it: not now, not later, not at the end.

    Of the five seconds that importing TensorFlow takes, with the clearing up when Python ends, it takes almost two.
    """
    if "keras" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
    if "torch" not in sys.modules:  # what is frozen is not freed at the end, and Triton, a part of it, tells of leaks
        gc.freeze()


@contextlib.contextmanager
def _held_back() -> Iterator[list[str]]:
    """Standard error, also that of compiled code, goes into the list at the block's end; it is shown if that fails."""
    held: list[str] = []
    flags = os.environ.get("XLA_FLAGS" if os.environ.get("KERAS_BACKEND") == "jax" else "TF_XLA_FLAGS")
    if flags:  # wrong ones end the process here, and what names them must not be lost
        yield held
        return
    sys.stderr.flush()
    shown = os.dup(2)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as notices:
        os.dup2(notices.fileno(), 2)
        try:
            yield held
        except BaseException:
            os.dup2(shown, 2)
            notices.seek(0)
            sys.stderr.write(notices.read())
            raise
        finally:
            os.dup2(shown, 2)
            os.close(shown)
        notices.seek(0)
        held.append(notices.read())
