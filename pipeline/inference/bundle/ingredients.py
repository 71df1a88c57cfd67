"""What a bundle is made of, whichever form it is written in."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config import DatasetConfig, InferenceConfig
from pipeline.ensembling.recipe import Recipe
from pipeline.inference.bundle.quantization import Encoding
from pipeline.inference.runs import TrainedRun
from pipeline.inference.thresholds import Thresholds


@dataclass(frozen=True)
class Ingredients:
    """Trained runs, how they are blended and stored, and what is said beside them."""

    recipe: Recipe
    runs: Sequence[TrainedRun]
    """The runs of `recipe.used`, in the same order."""
    names: Sequence[str]
    """Of the classes."""
    weights: Encoding
    """How the weights are to be stored."""
    inference: InferenceConfig
    """Its `top_k` is the number of labels of each model that are blended."""
    inputs: dict[str, str]
    """Digests of what the bundle is made from."""
    thresholds: Thresholds | None = None
    """Those that were chosen for the run or the blend, if any."""

    @property
    def dataset(self) -> DatasetConfig:
        """What all runs were trained on."""
        return self.runs[0].dataset

    def count_models(self) -> int:
        """Return the number of models of all runs; a run in folds has several."""
        return sum(len(run.models) for run in self.runs)
