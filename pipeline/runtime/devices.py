"""The accelerators of this machine: what they are called, and how a model is spread over several of them."""

import sys
from typing import TYPE_CHECKING

import numpy as np

from pipeline.config.errors import StageError
from pipeline.config.wording import counted
from pipeline.runtime.hosts import Hosts, mine

if TYPE_CHECKING:
    import keras

ALL = "all"


def spread(chosen: str, setting: str, batch_size: int | None = None) -> None:
    """Let the models that are built or loaded from now on compute on several devices, as many as `chosen` says.

    A model's weights are on every device, and each device computes its share of a batch. Sums over videos are over all
    of them, as on one device: in the loss, the gradient, the statistics of batch norm.

    Args:
        chosen: `all` that the backend sees, or a number; of several hosts, on each.
        setting: the name of the setting that says so, for messages, such as `training.devices`.
        batch_size: how many videos a batch has, if it is not padded until the devices share it evenly.

    Raises:
        StageError: there are fewer devices; the backend uses one alone; or the batch cannot be shared evenly.
    """
    import keras

    name = keras.backend.backend()
    seen = _seen(name)
    number = seen if chosen == ALL else int(chosen)
    if number > seen:
        raise StageError(
            f"--{setting} {chosen}: {name} sees {counted(seen, 'device')} here. Choose --{setting} {seen} or less, or "
            f"{ALL}"
        )
    if name != "jax" and number > 1:
        raise StageError(
            f"--{setting} {chosen}: {name} sees {counted(seen, 'device')}, and the pipeline uses one with it. Set "
            f"KERAS_BACKEND=jax to use {'all' if number == seen else number}, or choose --{setting} 1"
        )
    hosts = mine()
    every = hosts.gather(np.int32(number)).tolist()
    if len(set(every)) > 1:
        raise StageError(f"the hosts see {every} devices, and must use as many each: choose --{setting} {min(every)}")
    total = number * hosts.count
    if batch_size and batch_size % total:
        fitting = [size for size in (batch_size // total * total, -(-batch_size // total) * total) if size]
        raise StageError(
            f"a batch of {counted(batch_size, 'video')} cannot be shared evenly by {total} devices: choose "
            f"--training.batch-size {' or '.join(map(str, fitting))}, or another --{setting}"
        )
    if total > 1 and hosts.is_first:
        where = f" of {hosts.count} hosts" if hosts.count > 1 else ""
        print(f"{total} devices{where} share each batch", flush=True)
    keras.distribution.set_distribution(_over(number, hosts) if total > 1 else None)


def shares() -> int:
    """How many devices of this host share a batch, whose number of videos must be a multiple of it."""
    keras = sys.modules.get("keras")
    distribution = keras.distribution.distribution() if keras else None
    return distribution.num_model_replicas // mine().count if distribution else 1


def names_of(backend: str) -> list[str]:
    """Return the names of the accelerators that the backend sees."""
    if backend == "jax":
        import jax

        return [str(device) for device in jax.devices() if device.platform != "cpu"]
    if backend == "torch":
        return _torch_devices()
    import tensorflow as tf

    return [device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices("GPU")]


def kinds_of(backend: str) -> list[str]:
    """Return the product name of each accelerator that the backend sees."""
    if backend == "jax":
        import jax

        return [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    if backend == "torch":
        import torch

        cuda = torch.cuda.is_available()
        return [torch.cuda.get_device_name(name) for name in names_of(backend)] if cuda else names_of(backend)
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(device).get("device_name", "GPU") for device in devices]


def _over(number: int, hosts: Hosts) -> "keras.distribution.DataParallel":
    """The first devices of each host, host by host: each has its own part of a batch in one piece."""
    import jax
    import keras

    own = [[each for each in jax.devices() if each.process_index == host][:number] for host in range(hosts.count)]
    names = [f"{device.platform}:{device.id}" for devices in own for device in devices]
    return keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)


def _seen(backend: str) -> int:
    """How many devices the backend could use: its accelerators, or the processors as one; on JAX as it counts them."""
    if backend == "jax":
        import jax

        return jax.local_device_count()
    if backend == "torch":
        import torch

        return max(torch.cuda.device_count(), 1)
    import tensorflow as tf

    return max(len(tf.config.list_logical_devices("GPU")), 1)


def _torch_devices() -> list[str]:
    """The one device that Keras takes on PyTorch, unless it is the processor: all layers lie on it."""
    import torch
    from keras.src.backend.torch import core  # there is no public way to ask

    return [] if (device := torch.device(core.get_device())).type == "cpu" else [str(device)]
