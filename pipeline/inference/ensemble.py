"""Ensembles: models that predict together, and how their predictions become one. A run is an ensemble of one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.config import DatasetConfig, SamplingConfig
from pipeline.ensembling.recipe import Member, Recipe
from pipeline.inference.runs import TrainedRun
from pipeline.models import load_model


class EnsembleMember(NamedTuple):
    """A Keras model of `pipeline.models`, and the frames that it was trained for: `sampling.evaluation` counts."""

    model: object
    sampling: SamplingConfig


@dataclass(frozen=True)
class Ensemble:
    """Everything that predicts."""

    dataset: DatasetConfig
    members: tuple[EnsembleMember, ...]
    """One for each of `recipe.used`, in their order."""
    recipe: Recipe
    """Their weights, and the scale that their scores are combined on."""
    member_top_k: int
    """Labels of each member that are blended."""
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.members) != len(self.recipe.used):
            raise ValueError(f"{len(self.members)} models for a recipe of {len(self.recipe.used)}")

    @classmethod
    def of_model(cls, model: object, sampling: SamplingConfig, dataset: DatasetConfig, top_k: int) -> "Ensemble":
        """A single model, of whose labels `top_k` are kept."""
        recipe = Recipe((Member("model", "", 1.0),), top_k=top_k)
        return cls(dataset, (EnsembleMember(model, sampling),), recipe, top_k)

    @classmethod
    def of_runs(
        cls, recipe: Recipe, runs: Sequence[TrainedRun], member_top_k: int, class_names: Sequence[str] = ()
    ) -> "Ensemble":
        """Trained runs, those of `recipe.used`, each computing in the precision that it was trained in."""
        members = tuple(EnsembleMember(load_model(run.stored), run.sampling) for run in runs)
        return cls(runs[0].dataset, members, recipe, member_top_k, tuple(class_names))
