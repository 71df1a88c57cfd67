"""Trainings that do not depend on each other, each a task of a cluster."""

import functools
from collections.abc import Sequence

from pipeline.cli.running import call_far
from pipeline.runtime.engine import PROCESSES, RayCluster
from pipeline.runtime.progress import progress_bar


def train_far(cluster: RayCluster, command_lines: Sequence[Sequence[str]]) -> None:
    """Run `train` with each of these command lines, as many at a time as the cluster has room for.

    What each prints is printed when it has ended, in their order. Raises what one of them raises; the others end then,
    and go on from their checkpoints with the same command.
    """
    lines = [[*each, "--engine", PROCESSES] for each in command_lines]
    with progress_bar(total=len(lines), desc="train", unit=" trainings") as bar:
        for told in cluster.map(functools.partial(call_far, "train"), lines):
            bar.write(told, end="")
            bar.update()
