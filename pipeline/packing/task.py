"""The task of a dataset: one label for each video, or any number; found in the labels, or as its owner says."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from pipeline.config.errors import StageError
from pipeline.config.wording import counted

Task = Literal["multi_label", "single_label"]


def task_of(ids: Sequence[str], labels: Sequence[np.ndarray | None], classes: int, asked: Task | None) -> Task:
    """Return the task of N videos: single_label if each that is labelled has one label, of 2 classes or more.

    Args:
        ids: of the videos.
        labels: int32, the classes of each; None if it is unlabelled, which fits either task.
        classes: how many there are.
        asked: what --task says; None: what the labels say.

    Raises:
        StageError: single_label is asked for, and a video has no label or several, or there is one class.
    """
    others = [(id, len(own)) for id, own in zip(ids, labels) if own is not None and len(own) != 1]
    if asked == "single_label" and others:
        id, number = others[0]
        raise StageError(
            f"--task single_label: {counted(len(others), 'video')} with no label or several, for example "
            f"{id!r} with {number}, where each must have exactly one: mend the labels, leave out the row "
            "of a video whose label is not known, or give --task multi_label"
        )
    if asked == "single_label" and classes < 2:
        raise StageError("--task single_label: there is one class alone, which tells no videos apart: leave --task out")
    return asked or ("multi_label" if others or classes < 2 else "single_label")
