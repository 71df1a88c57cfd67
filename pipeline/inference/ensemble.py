"""Ensembles: models that predict together, and the recipe that blends them. A single run is an ensemble of one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from pipeline.config import DatasetConfig, SamplingConfig, labels_kept
from pipeline.ensembling.recipe import Member, Recipe
from pipeline.inference.runs import TrainedRun
from pipeline.models import load_model


class EnsembleMember(NamedTuple):
    """A run's models, and how frames are sampled for them; only `sampling.evaluation` is used."""

    models: tuple[object, ...]
    """A Keras model of `pipeline.models`, or one for each fold, whose probabilities are averaged."""
    sampling: SamplingConfig


@dataclass(frozen=True)
class Ensemble:
    """All that is needed to predict: the dataset, the models, their recipe and the class names.

    The models of one member are averaged first, by their probabilities of all classes; the recipe blends the members.
    """

    dataset: DatasetConfig
    members: tuple[EnsembleMember, ...]
    """One for each of `recipe.used`, in the same order."""
    recipe: Recipe
    """The members' weights, and the scale that their scores are combined on."""
    member_top_k: int
    """How many labels of each member are blended."""
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.members) != len(self.recipe.used):
            raise ValueError(f"there are {len(self.members)} models for a recipe of {len(self.recipe.used)}")

    @classmethod
    def of_model(cls, model: object, sampling: SamplingConfig, dataset: DatasetConfig, top_k: int | None) -> "Ensemble":
        """Make an ensemble of a single model, whose best labels are kept: see `labels_kept`."""
        kept = labels_kept(top_k, dataset.num_classes)
        recipe = Recipe((Member("model", "", 1.0),), top_k=kept)
        return cls(dataset, (EnsembleMember((model,), sampling),), recipe, kept)

    @classmethod
    def of_runs(
        cls, recipe: Recipe, runs: Sequence[TrainedRun], top_k: int | None, class_names: Sequence[str] = ()
    ) -> "Ensemble":
        """Make an ensemble of the runs of `recipe.used`; each computes in the precision that it was trained in.

        The best labels of each are blended: see `labels_kept`.
        """
        members = tuple(EnsembleMember(tuple(map(load_model, run.models)), run.sampling) for run in runs)
        kept = labels_kept(top_k, runs[0].dataset.num_classes)
        return cls(runs[0].dataset, members, recipe, kept, tuple(class_names))

    @property
    def folds(self) -> int:
        """Number of folds that all members are trained in; 0 if they are not, or not all in as many."""
        numbers = {len(member.models) for member in self.members}
        return max(numbers) if len(numbers) == 1 and numbers != {1} else 0

    def fold(self, number: int) -> "Ensemble":
        """Return the ensemble of the models of one fold, from 1 on, which have not seen the fold's videos."""
        if not 1 <= number <= self.folds:
            raise ValueError(f"there are {self.folds} folds, and no fold {number}")
        members = tuple(member._replace(models=member.models[number - 1 : number]) for member in self.members)
        return replace(self, members=members)
