"""More epochs of a run: whether it goes on from its end as if it had been begun with them, and why not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.artifacts.done import Done
from pipeline.artifacts.places import CHECKPOINT
from pipeline.config import TrainingConfig, differences
from pipeline.config.errors import StageError
from pipeline.training.plan import TrainingPlan, warmup_examples


def asks_for_more(begun: Done | None, config: dict[str, Any]) -> bool:
    """Return whether a config is that of a run but for its epochs, which are more."""
    if begun is None or "epochs" not in begun.config.get("training", {}):
        return False
    before, after = begun.config["training"]["epochs"], config["training"]["epochs"]
    same = begun.config | {"training": begun.config["training"] | {"epochs": after}}
    return before < after and not differences(same, config)


def check_longer(folder: Path, before: float, inputs: list[str], training: TrainingConfig, videos: int) -> None:
    """Raise StageError, with the reason and the remedy, unless a run can go on to the epochs of `training`.

    It can if the steps that it has taken are the first steps of the longer run, to the last bit: equal rates, equal
    evaluations, equal data.

    Args:
        folder: the folder of the run.
        before: the epochs that it was begun with.
        inputs: what has changed of what it was trained on.
        training: its settings, with the epochs that are asked for.
        videos: the number of videos to train on.
    """
    if fault := "; ".join(inputs) or _misfit(folder, before, training, videos):
        raise StageError(
            f"{folder} was made with --training.epochs {before:g} and cannot go on to {training.epochs:g}: {fault}. "
            f"Begin a new run with its weights, --run NAME --from {folder.name}, or train this one anew with --force"
        )


def _misfit(folder: Path, before: float, training: TrainingConfig, videos: int) -> str:
    if training.decay == "cosine":
        return "its learning rate has followed a cosine that ends at 0 (--training.decay)"
    if before % 1:
        return "its end is within an epoch, where the longer run would not be scored"
    shorter, longer = (
        TrainingPlan.of(replace(training, epochs=epochs), videos) for epochs in (before, training.epochs)
    )
    warm, warmer = (warmup_examples(training, plan.total) for plan in (shorter, longer))
    if warm != warmer:
        return f"its warm-up took {warm:,} examples, a tenth of the run, and would take {warmer:,}"
    if not (folder / CHECKPOINT).exists():
        return "it has no checkpoint (--training.keep-checkpoint)"
    return ""
