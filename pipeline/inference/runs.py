"""Read trained runs from disk: a single run, of one model or of one for each fold, or the runs of a blend."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.artifacts.done import Done
from pipeline.artifacts.files import read_json
from pipeline.artifacts.folds import digest_of_folds, fold_folders, is_folded
from pipeline.artifacts.models import MODEL, is_model
from pipeline.artifacts.places import RUN_CONFIG, WEIGHTS, is_trained
from pipeline.config import (
    DatasetConfig,
    InferenceConfig,
    ModelConfig,
    SamplingConfig,
    differences,
    from_dict,
    labels_kept,
)
from pipeline.config.errors import StageError
from pipeline.config.wording import counted
from pipeline.ensembling.recipe import Member, Recipe
from pipeline.inputs.index import Index


@dataclass(frozen=True)
class TrainedRun:
    """A run that is trained to its end: its configuration, and where its models lie."""

    folder: Path
    dataset: DatasetConfig
    sampling: SamplingConfig
    model: ModelConfig
    precision: str
    """The precision that it was trained in, `float32` or `mixed_bfloat16`."""
    digest: str
    """The digest of its model or, if it is trained in folds, of the digests of all its models."""
    models: tuple[Path, ...]
    """Its model, or that of each fold."""
    trained_on: tuple[str, ...]
    """The digest of the index that each model is trained on."""

    def alone(self, kept: int | None) -> Recipe:
        """Return the recipe of a blend of this run alone, which keeps as many labels as `labels_kept` says."""
        return Recipe(
            (Member(self.folder.name, str(self.folder), 1.0),), top_k=labels_kept(kept, self.dataset.num_classes)
        )

    @classmethod
    def read(cls, folder: Path) -> "TrainedRun":
        """Read a run from its folder.

        Raises StageError if it is not a run, is not trained to its end, or its folds were trained with other settings.
        """
        if is_folded(folder):
            return _joined(folder, [cls.read(each) for each in fold_folders(folder)])
        path = folder / RUN_CONFIG
        if (done := Done.read(folder)) is None:
            raise StageError(f"{folder} is not trained to its end: run train again, which resumes from its checkpoint")
        if not is_model(folder / MODEL, done.output):
            raise StageError(
                f"{folder / MODEL} is not the model that was stored when training ended: the run is being trained "
                "anew, or the file was replaced. Wait for training to end, or train the run with --force"
            )
        config = read_json(path)
        precision = config["training"]["precision"]
        if precision not in ("float32", "mixed_bfloat16"):
            raise StageError(f"{path}: the precision must be float32 or mixed_bfloat16; train the run with --force")
        return cls(
            folder,
            from_dict(DatasetConfig, config["dataset"], path),
            from_dict(SamplingConfig, config["sampling"], path),
            from_dict(ModelConfig, config["model"], path),
            precision,
            done.output,
            (folder / MODEL,),
            (config["inputs"]["index"],),
        )


def _joined(folder: Path, folds: list[TrainedRun]) -> TrainedRun:
    """Return the run that is trained in these folds."""
    settings = [{**read_json(fold.folder / RUN_CONFIG), "fold": None, "inputs": None} for fold in folds]
    for fold, own in zip(folds, settings):
        if changed := differences(settings[0], own):
            raise StageError(
                f"{fold.folder} was trained with other settings than {folds[0].folder}: {'; '.join(changed)}. Train "
                "all folds with the same settings"
            )
    if Done.read(folder) is None:
        raise StageError(f"{folder} is not trained to its end: run train again, which says what is missing")
    return replace(
        folds[0],
        folder=folder,
        digest=digest_of_folds([fold.digest for fold in folds]),
        models=tuple(path for fold in folds for path in fold.models),
        trained_on=tuple(digest for fold in folds for digest in fold.trained_on),
    )


def describe_dataset(dataset: DatasetConfig) -> str:
    """Describe in words what a dataset's records hold."""
    features = ", ".join(map(str, dataset.features))
    frames = f"up to {counted(dataset.max_frames, 'frame')}" if dataset.level == "frame" else "one row a video"
    return f"{features}; {counted(dataset.num_classes, 'class', 'classes')}; {frames}"


def prediction_settings(sampling: SamplingConfig, inference: InferenceConfig, num_classes: int) -> dict[str, Any]:
    """Return the settings that the predictions of a run depend on, beside its model and the index."""
    return {
        "sampling": [sampling.evaluation, sampling.frames],
        "top_k": labels_kept(inference.top_k, num_classes),
        "videos_per_part": inference.videos_per_part,
    }


def check_run_fits_index(trained_on: DatasetConfig, folder: Path, index: Index) -> None:
    """Raise StageError if the model in `folder` was trained on records of another kind than the index holds."""
    if _predicted(trained_on) != _predicted(index.dataset):
        one, other = describe_dataset(trained_on), describe_dataset(index.dataset)
        raise StageError(f"{folder} was trained on {one}; the index {index.folder} has {other}")


def read_blend(folder: Path, kept: int | None) -> tuple[Recipe, list[TrainedRun]]:
    """Return the recipe in an ensemble's folder, and the runs that it uses; a run's folder counts as a blend of one.

    Args:
        folder: the folder of an ensemble or of a run.
        kept: how many labels a blend of one keeps; None: as many as `labels_kept` says.
    Raises:
        StageError: a member is missing or unfinished, or the members were trained on different datasets.
    """
    if is_trained(folder):
        run = TrainedRun.read(folder)
        return run.alone(kept), [run]
    recipe = Recipe.read(folder / WEIGHTS)
    runs = [TrainedRun.read(_folder_of(member, folder)) for member in recipe.used]
    for run in runs[1:]:
        if _predicted(run.dataset) != _predicted(runs[0].dataset):
            one, other = describe_dataset(run.dataset), describe_dataset(runs[0].dataset)
            raise StageError(f"{run.folder} was trained on {one}; {runs[0].folder} on {other}")
    return recipe, runs


def _folder_of(member: Member, blend: Path) -> Path:
    """Return a member's folder: the recorded path, or a folder beside the blend's if all were moved together."""
    for folder in (Path(member.path), blend.parent / member.run):
        if is_trained(folder):
            return folder
    raise StageError(f"{blend} uses the run {member.run}, which is neither at {member.path} nor beside it")


def _predicted(dataset: DatasetConfig) -> tuple:
    """Return what must be equal in two datasets for a model to get the same of both: not the keys in their records."""
    frames = dataset.max_frames if dataset.level == "frame" else 1
    return [replace(feature, source="") for feature in dataset.features], dataset.num_classes, dataset.level, frames
