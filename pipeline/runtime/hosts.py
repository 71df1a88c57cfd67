"""Several hosts that train one model together: how they find each other, agree, and hear that one is gone."""

import atexit
import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.errors import ConfigError, StageError

HEARTBEAT = 20
"""Seconds after which a host that is not heard of counts as gone."""
WAIT = 300
"""Seconds that hosts wait for each other at the start."""
_SIGNS = ("Gloo", "gloo", "NCCL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "coordination service", "heartbeat")
"""What is in JAX's errors when a host does not answer."""
_LONGEST = 4096
"""Bytes of a message."""


@dataclass(frozen=True)
class Hosts:
    """So many hosts, of which this process is the one of a number; host 0 writes what is written."""

    count: int = 1
    own: int = 0

    @property
    def is_first(self) -> bool:
        return self.own == 0

    def agree(self, number: int) -> int:
        """Return the largest of the numbers that the hosts bring; each must come to this place, or the others wait."""
        return int(self.gather(np.int32(number)).max())

    def gather(self, values: Any) -> np.ndarray:
        """Return the values of all hosts, [hosts, ...]; they must have the same shape and dtype everywhere."""
        if self.count == 1:
            return np.asarray(values)[None]
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.process_allgather(np.asarray(values)))

    def check_shared(self, path: Path, found: int) -> None:
        """Raise StageError if the hosts have found different things at a path."""
        every = self.gather(np.int32(found))
        if (every != every[0]).any():
            raise StageError(f"{path} is not the same on all hosts: it must lie in a folder that all of them share")

    def tell(self, message: Any) -> Any:
        """Return the first host's message, JSON values, on every host; what the others bring is not looked at."""
        if self.count == 1:
            return message
        from jax.experimental import multihost_utils

        told = json.dumps(message).encode() if self.is_first else b""
        if len(told) > _LONGEST:
            raise ValueError(f"a message of {len(told)} bytes: at most {_LONGEST} are told")
        sent = np.frombuffer(told.ljust(_LONGEST), np.uint8)
        return json.loads(np.asarray(multihost_utils.broadcast_one_to_all(sent)).tobytes())


ALONE = Hosts()
_mine = ALONE


def mine() -> Hosts:
    """Return the hosts of which this process is one: a single one, outside of a block of `joined`."""
    return _mine


@contextlib.contextmanager
def joined(coordinator: str | None = None, hosts: int | None = None, host: int | None = None) -> Iterator[Hosts]:
    """Join the hosts that train together, before the backend starts; leave them together at the end of the block.

    What is not given is found under Slurm, Open MPI and Kubernetes; where nothing is, there is one host.

    Args:
        coordinator: address and port at which host 0 listens.
        hosts: how many there are.
        host: which one this is, from 0 on.

    Raises:
        ConfigError: what is given is not enough, or the backend is not JAX.
        StageError: the hosts do not find each other.
    """
    global _mine
    given = {"--cluster": coordinator, "--hosts": hosts, "--host": host}
    missing = [name for name, value in given.items() if value is None]
    launcher = _launcher()
    if hosts == 1 or (len(missing) == 3 and not launcher):
        yield _mine
        return
    if missing and not launcher:
        there = ", ".join(name for name in given if name not in missing)
        raise ConfigError(f"{there} without {', '.join(missing)}: outside of Slurm, Open MPI and Kubernetes give all")
    if hosts is not None and host is not None and host >= hosts:
        raise ConfigError(f"--host {host} of --hosts {hosts}: hosts are counted from 0 to {hosts - 1}")
    if os.environ.get("KERAS_BACKEND") != "jax":
        raise ConfigError(
            "several hosts train together on JAX alone: set KERAS_BACKEND=jax, or --hosts 1 to train alone"
        )
    import jax

    # Its signals would be taken from ours, which know of Ctrl-C and of a closed terminal too.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            coordinator,
            hosts,
            host,
            local_device_ids=_own_devices() if missing else None,
            cluster_detection_method=None if missing else "deactivate",
            initialization_timeout=WAIT,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=HEARTBEAT,
        )
    except (RuntimeError, ValueError) as error:
        raise StageError(
            f"the hosts do not find each other ({_first_line(error)}): start the same command on each, within {WAIT} "
            "seconds, and let all of them reach the address and port of host 0; or give --cluster, --hosts and --host"
        ) from error
    _mine = Hosts(jax.process_count(), jax.process_index())
    try:
        yield _mine
        _mine.agree(0)  # the others wait for what the first one writes last
    except Exception as error:
        atexit.register(_end_alone, 2 if isinstance(error, ConfigError) else 1)
        if (lost := _loss(error)) is None:
            raise
        raise StageError(
            f"another host is gone, or cannot be reached ({lost}): see what it says; the same command on each "
            "host goes on from the last checkpoint, with another number of hosts too"
        ) from error
    finally:
        _mine = ALONE
    jax.distributed.shutdown()


def _end_alone(status: int) -> None:
    """End the process without waiting for the others to leave, who hear of it; JAX would abort with a stack trace."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _loss(error: Exception) -> str | None:
    """Return what an error of the network between hosts says; None if the error is of another kind."""
    if isinstance(error, (StageError, ConfigError)) or not isinstance(error, (RuntimeError, ValueError)):
        return None  # JAX raises either, by the place where it waits
    return _first_line(error) if any(sign in str(error) for sign in _SIGNS) else None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _launcher() -> str | None:
    """Return the name of the launcher that has started several processes of this command; None if none has."""
    environment = os.environ
    if (ray := sys.modules.get("ray")) and ray.is_initialized():  # a task of it, which is alone whatever started Ray
        return None
    if "SLURM_STEP_NODELIST" in environment and "SLURM_PROCID" in environment and _number("SLURM_NTASKS") > 1:
        return "Slurm"
    if _number("OMPI_COMM_WORLD_SIZE") > 1:
        return "Open MPI"
    indexed = "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment
    return "Kubernetes" if indexed and importlib.util.find_spec("kubernetes") else None


def _own_devices() -> list[int] | None:
    """Return the GPUs of this process, if it is alone on its host: JAX would take one alone under Slurm and MPI."""
    alone = _number("OMPI_COMM_WORLD_LOCAL_SIZE") == 1 or 0 < _number("SLURM_NTASKS") == _number("SLURM_STEP_NUM_NODES")
    if not alone or not shutil.which("nvidia-smi"):
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return list(range(len(visible.split(","))))
    answer = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    return list(range(len(answer.stdout.splitlines()))) or None


def _number(variable: str) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() else 0
