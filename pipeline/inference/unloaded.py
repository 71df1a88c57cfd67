"""What predicts, a run, an ensemble or a bundle, as far as it is known before its models are loaded."""

import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.done import digest_file, digest_json
from pipeline.config import DatasetConfig, SamplingConfig, ThresholdConfig, to_dict
from pipeline.config.errors import StageError
from pipeline.inference.bundle.header import read_header
from pipeline.inference.bundle.opening import is_onnx
from pipeline.inference.runs import read_blend
from pipeline.inference.threshold_choice import choose_thresholds
from pipeline.inference.thresholds import Thresholds, fresh_thresholds, given_thresholds, holdout_store
from pipeline.inputs.class_names import stored_class_names, unnamed
from pipeline.inputs.index import Index
from pipeline.inputs.reading.sampling import distinct_samplings
from pipeline.runtime import backend

if TYPE_CHECKING:
    from pipeline.inference.ensemble import Ensemble


@dataclass(frozen=True)
class UnloadedEnsemble:
    """An ensemble whose models are loaded when they are needed: that takes longer than all else."""

    dataset: DatasetConfig
    samplings: list[SamplingConfig]
    """Each once, as `Predictor.samplings`."""
    class_names: Sequence[str]
    digest: Callable[[], str]
    """Returns a digest of the models and how they are blended."""
    load: Callable[[], "Ensemble"]
    """Starts the backend and loads the models. Raises StageError if one is damaged."""
    thresholds: Callable[[ThresholdConfig | None], Thresholds]
    """Returns the thresholds that are stored with it or, with settings, those that the hold-out's predictions give.
    Raises StageError if there are none, or they are out of date."""
    is_onnx: bool = False
    """Whether ONNX Runtime runs the models: they give probabilities, and nothing else of theirs can be had."""

    def by_class(
        self, given: str | None, goals: dict[str, float | None], settings: ThresholdConfig
    ) -> NDArray[np.float64] | None:
        """Return from which score on each class is assigned, [V]; None if from any.

        Args:
            given: the thresholds that are stored, or a number, see `given_thresholds`.
            goals: the value of each goal that is asked for in their place; None if it is not.
            settings: how thresholds are chosen for a goal.

        Raises StageError as `thresholds` does.
        """
        if given:
            return given_thresholds(given, lambda: self.thresholds(None), self.dataset.num_classes)
        for goal, value in goals.items():
            if value is not None:
                return self.thresholds(replace(settings, goal=goal, value=value)).array()
        return None


def find_bundle(path: Path) -> UnloadedEnsemble:
    """Read the header of a bundle. Raises BundleError if it is none."""
    header = read_header(path)

    onnx = is_onnx(path)

    def load() -> "Ensemble":
        if not onnx:
            _start_backend()
        from pipeline.inference.bundle.loading import load_bundle

        return load_bundle(path)

    def thresholds(settings: ThresholdConfig | None) -> Thresholds:
        if settings:
            raise StageError(
                f"{path} is a bundle, and has no hold-out to choose by: give --threshold stored, or a number, or name "
                "a run with --run"
            )
        if header.thresholds is None:
            raise StageError(
                f"{path} holds no thresholds: run threshold for the run and export it again, or give a number"
            )
        return header.thresholds

    samplings = distinct_samplings(stored.sampling for stored in header.models)
    return UnloadedEnsemble(header.dataset, samplings, header.names, lambda: digest_file(path), load, thresholds, onnx)


def find_runs(folder: Path, top_k: int | None, index_of: Callable[[str], Path]) -> UnloadedEnsemble:
    """Read what a run or an ensemble says of itself.

    Args:
        folder: of the run or the ensemble.
        top_k: how many labels of each run are blended.
        index_of: returns the folder of the index of a dataset, which has the names of the classes.

    Raises StageError: a run is missing, unfinished or damaged.
    """
    recipe, runs = read_blend(folder, top_k)
    dataset = runs[0].dataset
    names = stored_class_names(index_of(dataset.name), dataset.num_classes) or unnamed(dataset.num_classes)

    def digest() -> str:
        members = [[run.digest, run.sampling.evaluation, run.sampling.frames] for run in runs]
        weights = [[member.weight, *member.quantiles] for member in recipe.used]
        features = [to_dict(feature) for feature in dataset.features]
        return digest_json(members, weights, recipe.combine, recipe.top_k, top_k, features, dataset.max_frames)

    def load() -> "Ensemble":
        _start_backend()
        from pipeline.inference.ensemble import Ensemble

        return Ensemble.of_runs(recipe, runs, top_k, names)

    def thresholds(settings: ThresholdConfig | None) -> Thresholds:
        index = Index.open(index_of(dataset.name))
        if settings is None:
            return fresh_thresholds(folder, index).chosen
        (choice,) = choose_thresholds(holdout_store(folder, index), index, settings)
        return Thresholds(settings, tuple(choice.by_class.tolist()))

    samplings = distinct_samplings(run.sampling for run in runs)
    return UnloadedEnsemble(dataset, samplings, names, digest, load, thresholds)


def _start_backend() -> None:
    with contextlib.redirect_stdout(sys.stderr):  # the standard output is for the answers
        backend.start_backend()
