"""The start of Keras and its backend: what it runs on, without the notices that TensorFlow prints on the way."""

import collections
import contextlib
import gc
import logging
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator

from pipeline.config.errors import ConfigError, StageError
from pipeline.config.wording import counted

BACKENDS = ("tensorflow", "jax")
_VARIABLES = ("KERAS_BACKEND", "TF_", "XLA_", "JAX_", "CUDA_", "LD_LIBRARY_PATH")
"""Names of what may be set for a backend begin with these."""


def check_backend() -> None:
    """Raise ConfigError if KERAS_BACKEND is none that the models run on; it is often set for another project."""
    if (name := os.environ.get("KERAS_BACKEND")) and name not in BACKENDS:
        raise ConfigError(f"KERAS_BACKEND is {name}: set it to {' or '.join(BACKENDS)}, or unset it for {BACKENDS[0]}")


def _quieten() -> None:
    """Let TensorFlow log errors alone, unless the user asks for more; with a GPU's driver also why it finds no GPU."""
    if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "1" if shutil.which("nvidia-smi") else "2"
        logging.getLogger("tensorflow").setLevel(logging.ERROR)


def start_backend() -> None:
    """Import Keras and its backend, and print which devices there are.

    TensorFlow's start-up notices go to the standard error before any setting of it is read. They are held back, and
    shown after all where they matter: the import fails, or there is an NVIDIA driver and no GPU was found.

    Raises:
        ConfigError: KERAS_BACKEND is none that the models run on.
        StageError: the backend cannot start; the message names what is set for it.
    """
    check_backend()
    _quieten()
    try:
        with _held_back() as notices:
            with _uncollected():
                import keras

            keras.distribution.set_distribution(None)  # of an earlier stage of this process; see `devices.spread`
            name = keras.backend.backend()
            devices = _devices(name)
    except Exception as error:
        there = [name for name in sorted(os.environ) if name.startswith(_VARIABLES)]
        remedy = f"; mend or unset what is wrong of {', '.join(there)}" if there else ""
        backend = os.environ.get("KERAS_BACKEND") or BACKENDS[0]
        raise StageError(f"{backend} cannot start ({type(error).__name__}: {error}){remedy}") from error
    if not devices and shutil.which("nvidia-smi"):
        sys.stderr.write("".join(notices))
        print("an NVIDIA driver is here, but no GPU was found: see above", file=sys.stderr)
    print(f"{name} on {', '.join(devices) or counted(len(os.sched_getaffinity(0)), 'processor')}", flush=True)


def start_tracing() -> None:
    """Import Keras on TensorFlow, whatever backend is set, to look at graphs: no GPU is taken, nothing is printed."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    _quieten()
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
    kinds = collections.Counter(_kinds(name))
    devices = [f"{number} {kind}" if number > 1 else kind for kind, number in kinds.items()]
    on = ", ".join(devices) or f"{len(os.sched_getaffinity(0))} processors"
    return f"{name} on {on}, {platform.system()} {platform.machine()}"


def _kinds(backend: str) -> list[str]:
    """The product name of each accelerator that the backend sees."""
    if backend == "jax":
        import jax

        return [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(device).get("device_name", "GPU") for device in devices]


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


def _devices(backend: str) -> list[str]:
    """The accelerators that the backend sees."""
    if backend == "jax":
        import jax

        return [str(device) for device in jax.devices() if device.platform != "cpu"]
    import tensorflow as tf

    return [device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices("GPU")]


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
