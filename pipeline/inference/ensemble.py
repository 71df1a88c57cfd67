"""Ensembles: models that predict together, and the recipe that blends them. A single run is an ensemble of one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.config import DatasetConfig, SamplingConfig, labels_kept
from pipeline.ensembling.recipe import Member, Recipe
from pipeline.inference.runs import TrainedRun
from pipeline.models import load_model


class EnsembleMember(NamedTuple):
    """A Keras model of `pipeline.models`, and how its frames are sampled; only `sampling.evaluation` is used."""

    model: object
    sampling: SamplingConfig


@dataclass(frozen=True)
class Ensemble:
    """All that is needed to predict: the dataset, the models, their recipe and the class names."""

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
        return cls(dataset, (EnsembleMember(model, sampling),), recipe, kept)

    @classmethod
    def of_runs(
        cls, recipe: Recipe, runs: Sequence[TrainedRun], top_k: int | None, class_names: Sequence[str] = ()
    ) -> "Ensemble":
        """Make an ensemble of the runs of `recipe.used`; each computes in the precision that it was trained in.

        The best labels of each are blended: see `labels_kept`.
        """
        members = tuple(EnsembleMember(load_model(run.stored), run.sampling) for run in runs)
        kept = labels_kept(top_k, runs[0].dataset.num_classes)
        return cls(runs[0].dataset, members, recipe, kept, tuple(class_names))
