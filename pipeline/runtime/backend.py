"""The start of Keras and its backend: what it runs on, without the notices that TensorFlow prints on the way."""

import contextlib
import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator

from pipeline.config.wording import counted


def start_backend() -> None:
    """Import Keras and its backend, and print which devices there are.

    TensorFlow's start-up notices go to the standard error before any setting of it is read. They are held back, and
    shown after all where they matter: the import fails, or there is an NVIDIA driver and no GPU was found.
    """
    with _held_back() as notices:
        with _uncollected():
            import keras

        name = keras.backend.backend()
        devices = _devices(name)
    if not devices and shutil.which("nvidia-smi"):
        sys.stderr.write("".join(notices))
        print("an NVIDIA driver is here, but no GPU was found: see above", file=sys.stderr)
    print(f"{name} on {', '.join(devices) or counted(len(os.sched_getaffinity(0)), 'processor')}", flush=True)


def start_tracing() -> None:
    """Import Keras on TensorFlow, whatever backend is set, to look at graphs: no GPU is taken, nothing is printed."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with _held_back():
        with _uncollected():
            import keras  # noqa: F401
        import tensorflow as tf

        # Where there is a GPU a recurrent layer is one operation of cuDNN's, and what it does is not in the graph.
        tf.config.set_visible_devices([], "GPU")


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
