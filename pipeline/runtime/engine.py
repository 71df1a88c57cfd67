"""Where a stage's tasks run: in processes of this machine, or on a cluster of Ray; in order, with the same results."""

import contextlib
import logging
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipeline.config.errors import StageError
from pipeline.config.wording import counted
from pipeline.runtime.backend import forget_models
from pipeline.runtime.parallel import limit_processors, map_in_processes
from pipeline.runtime.surroundings import keep_out

T = TypeVar("T")
R = TypeVar("R")

PROCESSES, RAY = "processes", "ray"
EXTRA = "it is the extra ray: .venv/bin/uv sync --inexact --extra ray"
_PROJECT = Path(__file__).parents[2]
_PASSED_ON = ("PIPELINE_", "KERAS_BACKEND", "TF_", "XLA_", "JAX_")
"""Names of what tasks find set as this process does begin with these."""
_THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
_RETRIES = 3
"""How often a task begins again whose process or node was lost."""
_AHEAD = 4
"""Tasks that are submitted for each that can run: a slow reader of the results does not fill the memory."""


class Engine(Protocol):
    """Runs a stage's tasks."""

    far: bool
    """Whether tasks run elsewhere too: what they read and write must lie where all machines find it."""

    def map(self, function: Callable[..., R], items: Sequence[T], at_once: int = 1, shared: tuple = ()) -> Iterator[R]:
        """`function` of each item, in the order of the items; arguments are as of `map_in_processes`."""


class Processes:
    """Runs tasks in processes of this machine."""

    far = False

    def __init__(self, workers: int):
        self._workers = workers

    def map(self, function: Callable[..., R], items: Sequence[T], at_once: int = 1, shared: tuple = ()) -> Iterator[R]:
        return map_in_processes(function, items, self._workers, at_once, shared)


class RayCluster:
    """Runs tasks on a cluster of Ray whose nodes have this folder, the project and its environment at the same paths.

    A task whose node or process is lost begins again on another one. Its function must be that of a module, and what
    it writes must be whole or not at all.

    Args:
        address: `ray`, the cluster that this machine is part of or that $RAY_ADDRESS names, or `ray://HOST:PORT`.
        processors: of each task, which has as many threads.
        gpus: of each task; None: one where the cluster has any, if `models` are run.
        models: whether tasks run models.

    Raises:
        StageError: Ray is not installed, the cluster is not found, or none of its nodes has so many processors or GPUs.
    """

    far = True

    def __init__(self, address: str, processors: int = 1, gpus: float | None = None, models: bool = False):
        self._ray = _connected(address)
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        self._gpus = gpus if gpus is not None else float(models and any(node.get("GPU") for node in nodes))
        self._processors = processors
        self._slots = sum(map(self._fitting, nodes))
        if not self._slots:
            most = max((node.get("CPU", 0) for node in nodes), default=0)
            wanted = f"{counted(processors, 'processor')} and {self._gpus:g} GPUs"
            raise StageError(
                f"--engine {address}: a task takes {wanted}, and no node of the cluster has them (the largest has "
                f"{counted(int(most), 'processor')}): lower --task-cpus or --task-gpus"
            )

    def _fitting(self, node: Mapping[str, float]) -> int:
        """Return how many tasks a node can run at a time."""
        by_processors = int(node.get("CPU", 0) // self._processors)
        return min(by_processors, int(node.get("GPU", 0) / self._gpus)) if self._gpus else by_processors

    def map(self, function: Callable[..., R], items: Sequence[T], at_once: int = 1, shared: tuple = ()) -> Iterator[R]:
        ray = self._ray
        task = ray.remote(_work).options(
            num_cpus=self._processors,
            num_gpus=self._gpus,
            max_retries=_RETRIES,
            runtime_env={"env_vars": _environment(self._processors)},
        )
        kept = [ray.put(shared)]  # in a list, or Ray would make the arguments anew for every task
        under_way: deque[Any] = deque()
        try:
            for start in range(0, len(items), at_once):
                chosen = items[start : start + at_once]
                under_way.append(task.remote(str(Path.cwd()), self._processors, function, kept, chosen))
                if len(under_way) >= _AHEAD * self._slots:
                    yield from self._result(under_way.popleft())
            while under_way:
                yield from self._result(under_way.popleft())
        finally:
            for each in under_way:
                with contextlib.suppress(Exception):  # the cluster may be gone, which the error under way tells
                    ray.cancel(each, force=True)

    def _result(self, task: Any) -> list:
        errors = self._ray.exceptions
        try:
            return self._ray.get(task)
        except errors.RayTaskError as error:
            raise error.cause from error
        except errors.RayError as error:
            first = str(error).strip().partition("\n")[0]
            raise StageError(
                f"Ray lost a task {_RETRIES + 1} times ({type(error).__name__}: {first}), most likely since memory ran "
                "out on its node: raise --task-cpus, so that fewer run on a node; the same command goes on"
            ) from error


def _connected(address: str) -> Any:
    """Return the module ray, connected to a cluster."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what it will be, and a warning if it is not set
    try:
        import ray
    except ImportError as error:
        raise StageError(f"Ray runs --engine {address} and is not installed ({error}); {EXTRA}") from error
    if ray.is_initialized():
        return ray
    handler = signal.getsignal(signal.SIGTERM)  # Ray sets its own
    try:
        ray.init(
            "auto" if address == RAY else address,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            runtime_env={"env_vars": _environment(1)},
        )
    except (OSError, RuntimeError, ValueError) as error:
        first = str(error).strip().partition("\n")[0].partition(". ")[0]
        raise StageError(
            f"--engine {address}: no cluster answers ({first}). Start one from this project's environment with "
            "`.venv/bin/ray start --head`, or name its address: --engine ray://HOST:PORT"
        ) from error
    finally:
        with contextlib.suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGTERM, handler)
    return ray


def _environment(processors: int) -> dict[str, str]:
    """Return what is set for a task."""
    own = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    paths = [str(_PROJECT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    threads = dict.fromkeys(_THREADS, str(processors))
    return {**own, **threads, "PYTHONPATH": os.pathsep.join(paths)}


_shared: dict[str, tuple] = {}
"""In a process of a cluster: the arguments that tasks share, by Ray's name; those of one `map` at a time."""


def _work(folder: str, processors: int, function: Callable[..., R], kept: list, items: Sequence[T]) -> list[R]:
    """On a node of a cluster: return the results of some items."""
    import ray
    import threadpoolctl

    keep_out()
    limit_processors(processors)
    threadpoolctl.threadpool_limits(processors)
    try:
        os.chdir(folder)
    except OSError as error:
        raise StageError(
            f"{folder} is not on node {ray.util.get_node_ip_address()} ({error.strerror}): start the command and the "
            "nodes of Ray where all of them have the project and its data at the same paths"
        ) from error
    name = kept[0].hex()
    if name not in _shared:
        if _shared:  # with the models that were loaded for it
            _shared.clear()
            forget_models()
        _shared[name] = ray.get(kept[0])
    return [function(*_shared[name], item) for item in items]
