"""Models that answer together, from a run, an ensemble or a bundle, and how their answers become one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.config import DatasetConfig, InferenceConfig
from pipeline.ensembling.recipe import Recipe
from pipeline.inference.predictor import SampledModel, Scorer
from pipeline.inference.runs import TrainedRun
from pipeline.models import load_model


@dataclass(frozen=True)
class Committee:
    """Everything that predicts, ready to."""

    dataset: DatasetConfig
    models: tuple[SampledModel, ...]
    """One for each of `recipe.used`, in their order."""
    recipe: Recipe
    kept: int
    """Labels of each model that are blended."""
    names: tuple[str, ...]
    """Of the classes."""

    def scorer(self, inference: InferenceConfig) -> Scorer:
        """What ranks with them; of `inference`, the batch size counts."""
        return Scorer(self.models, self.dataset, replace(inference, top_k=self.kept), self.recipe)


def of_runs(recipe: Recipe, runs: Sequence[TrainedRun], kept: int, names: Sequence[str]) -> Committee:
    """The committee of trained runs, those of `recipe.used`, each computing in what it was trained in."""
    models = tuple(SampledModel(load_model(run.stored), run.sampling) for run in runs)
    return Committee(runs[0].dataset, models, recipe, kept, tuple(names))
