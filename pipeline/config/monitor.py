"""The metric that chooses: the best epoch, when training stops, the best run, the weights of a blend."""

from typing import Literal

Monitor = Literal["gap", "map", "auc", "d_prime", "hit_at_one", "perr", "top_1", "top_5"]
TITLES = {
    "gap": "GAP@20",
    "map_all_kept": "MAP",
    "auc": "AUC",
    "d_prime": "d'",
    "hit_at_one": "Hit@1",
    "perr": "PERR",
    "map": "MAP@20",
    "top_1": "top-1",
    "top_5": "top-5",
}
"""What tables call each metric of a split's scores."""
OF_ALL_CLASSES = ("auc", "d_prime")
"""They rank all videos by each class, so that every video must have a score for every class."""
OF_CLASSES = ("map", *OF_ALL_CLASSES)
"""They are means over classes."""


def key_of(monitor: Monitor) -> str:
    """Return the name among a split's scores, where `map` is MAP@20."""
    return "map_all_kept" if monitor == "map" else monitor


def title_of(monitor: Monitor) -> str:
    return TITLES[key_of(monitor)]


def short_title(monitor: Monitor) -> str:
    """Return what sentences call it."""
    return "GAP" if monitor == "gap" else title_of(monitor)


def why_not(monitor: Monitor, task: str, kept: int, classes: int) -> str:
    """Return why a metric cannot be computed, and the remedy; empty if it can be.

    Args:
        monitor: the metric.
        task: that of the dataset.
        kept: how many labels of each video predictions keep.
        classes: how many there are.
    """
    if monitor in ("top_1", "top_5") and task != "single_label":
        return f"{monitor} is the accuracy of a single_label dataset, and this one is {task}: choose another metric"
    needed = classes if monitor in OF_ALL_CLASSES else min(5, classes) if monitor == "top_5" else 1
    if kept < needed:
        return (
            f"{monitor} needs the scores of {needed} classes of each video, and {kept} are kept: set inference.top-k "
            f"{needed} or more"
        )
    return ""
