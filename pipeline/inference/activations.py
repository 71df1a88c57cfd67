"""How much memory a model takes for a video, before any of it is allocated: a stranger's bundle may ask for all."""

import math
from collections.abc import Iterable
from typing import Any

from pipeline.config.errors import StageError
from pipeline.runtime.memory import free_memory

_BYTES = 4


def values_within(settings: dict[str, Any], frames: int) -> int:
    """Return the most values that pooling makes at a time of one video, by the settings of its family.

    Args:
        settings: of the pooling: sizes, numbers of clusters, units and heads.
        frames: that it sees.
    """
    widest = max((size for value in settings.values() for size in _sizes(value)), default=1)
    # Attention has a value for each two frames and head.
    return frames * max(widest, frames * max(_sizes(settings.get("heads", 0))))


def values_of_video(model: Any, frames: int) -> int:
    """Return about how many values a model makes of one video: between its layers, and within its pooling.

    Args:
        model: of `pipeline.models`, or an `OnnxModel`, which bounds its memory itself: 0.
        frames: that it sees.
    """
    if not hasattr(model, "layers"):
        return 0
    from pipeline.models.pooling import Pooling  # only now: Keras takes seconds

    between = sum(math.prod(_shape(each, frames)) for layer in model.layers for each in _outputs(layer))
    within = [values_within(layer.get_config(), frames) for layer in model.layers if isinstance(layer, Pooling)]
    return between + max(within, default=0)


def videos_at_once(models: Iterable[Any], frames: int, most: int, what: str = "video") -> int:
    """Return how many videos models have room for at a time in the memory that is free, and no more than `most`.

    Args:
        models: as of `values_of_video`; one runs after the other.
        frames: that they see of a video at most.
        most: videos.
        what: what they are.

    Raises:
        StageError: there is no room for one.
    """
    needed = max((values_of_video(model, frames) for model in models), default=0) * _BYTES
    room = free_memory()
    if needed > room:
        raise StageError(
            f"the model takes about {_gigabytes(needed)} of memory for a {what} of {frames:,} frames, and "
            f"{_gigabytes(room)} are free: take a machine with more, or a model of fewer --sampling.frames"
        )
    return min(most, room // needed) if needed else most


def _outputs(layer: Any) -> list[Any]:
    found = getattr(layer, "output", None)
    return list(found.values()) if isinstance(found, dict) else found if isinstance(found, list) else [found]


def _shape(tensor: Any, frames: int) -> list[int]:
    """Return the shape of what a layer makes of one video: its other open size is that of the frames."""
    return [frames if size is None else size for size in getattr(tensor, "shape", (None, 0))[1:]]


def _sizes(value: object) -> list[int]:
    """Return the whole numbers in a setting."""
    values = value if isinstance(value, (list, tuple)) else (value,)
    return [size for size in values if isinstance(size, int)] or [0]


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
