"""One line for what the machine refuses a stage: disk, rights, open files, memory."""

import errno
import os
import sys
from concurrent.futures.process import BrokenProcessPool

from pipeline.artifacts.failures import REMEDIES, errno_of, path_of
from pipeline.cli.flags import WorkerFlags
from pipeline.cli.stages import STAGES
from pipeline.config import ConfigError
from pipeline.config.errors import StageError
from pipeline.runtime.memory import is_out_of_memory

_SMALLER = {
    "training": "--training.batch-size (--training.accumulate keeps the sum of a step)",
    "sampling": "--sampling.frames",
    "inference": "--inference.batch-size",
}
"""What takes less memory, by the section of the experiment."""


def explain(error: BaseException, stage: str) -> str | None:
    """Return a line that says what the machine refused and the remedy; None if the error is of another kind.

    Args:
        error: what a stage raised.
        stage: the name of the stage, whose flags the remedy names.
    """
    if isinstance(error, (StageError, ConfigError)):
        return None
    if (number := errno_of(error)) is not None:
        if path := path_of(error) or ("standard output" if getattr(error, "errno", None) else ""):
            return f"{path}: {os.strerror(number)}; {REMEDIES[number]}"
        return f"{' '.join(str(error).split())}; {REMEDIES[number]}"
    if is_out_of_memory(error) or getattr(error, "errno", None) == errno.ENOMEM:
        return f"memory ran out: {_lower(stage)}, the same command goes on"
    if isinstance(error, BrokenProcessPool):
        return f"a process of --workers was killed, most likely since memory ran out: {_lower(stage)}"
    return None


def drop_output() -> None:
    """Let go of what the standard output does not take, or Python would try again, and complain, when it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _lower(stage: str) -> str:
    takes = STAGES.get(stage)
    lower = [text for section, text in _SMALLER.items() if takes and section in takes.sections]
    if takes and WorkerFlags in takes.flags and stage != "run_all":
        lower.append("--workers")
    return f"lower {' or '.join(lower)}" if lower else "end other programs, or take a machine with more"
