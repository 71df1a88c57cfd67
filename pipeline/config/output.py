"""What comes out: predictions, their blend, the challenge's file."""

import math
from dataclasses import dataclass
from typing import Literal

from pipeline.config.errors import ConfigError, at_least


@dataclass(frozen=True)
class InferenceConfig:
    """How predictions are made and kept."""

    batch_size: int = 256
    top_k: int = 100
    """Labels kept for each video."""
    videos_per_part: int = 8192
    """Videos in one Parquet file: what a killed run loses at most."""

    def __post_init__(self) -> None:
        at_least(self, "inference", batch_size=1, top_k=1, videos_per_part=1)


@dataclass(frozen=True)
class EnsembleConfig:
    """How runs are blended. What is chosen is chosen on one half of the hold-out, and reported on the other."""

    combine: Literal["probabilities", "logits", "ranks"] = "probabilities"
    """What is averaged; a rank is a score's place among those that its model gave to the hold-out."""
    method: Literal["auto", "equal", "given", "greedy", "coordinate"] = "auto"
    """Whence the weights: greedy adds, again and again, the run that raises GAP most; coordinate tunes each weight in
    turn, from the best of a single run, equal weights, and greedy. auto is given with --ensemble.given, and else
    coordinate, or equal where the hold-out has no labels."""
    given: tuple[float, ...] = ()
    """Weights, in the order of --runs."""
    select: Literal["all", "top", "best"] = "all"
    """Runs that may have a weight: every one, the best few (--ensemble.top-runs), or the best alone."""
    top_runs: int | None = None
    """How many, with --ensemble.select top."""
    top_k: int = 100
    """Labels kept for each video."""

    def __post_init__(self) -> None:
        at_least(self, "ensemble", top_k=1)
        if bool(self.given) != (self.method == "given") and not (self.given and self.method == "auto"):
            raise ConfigError("ensemble.method given and ensemble.given, a weight for each run, belong together")
        if self.given and not (all(0 <= weight < math.inf for weight in self.given) and any(self.given)):
            raise ConfigError(f"ensemble.given must be finite, not negative and not all 0: {list(self.given)}")
        if self.given and self.select != "all":
            raise ConfigError("ensemble.given weighs every run: leave out ensemble.select")
        if self.select == "best" and self.method != "auto":
            raise ConfigError(f"ensemble.select best takes one run: ensemble.method {self.method} weighs several")
        if (self.select == "top") != (self.top_runs is not None):
            raise ConfigError("ensemble.select top and ensemble.top-runs belong together")
        if self.top_runs is not None:
            at_least(self, "ensemble", top_runs=1)


@dataclass(frozen=True)
class SubmissionConfig:
    """The challenge's file."""

    top_k: int = 20
    """Pairs of label and confidence for each video; the challenge takes 20 at most."""
    gzip: bool = False
    """Write .csv.gz; its name, a hash of the text, is that of the .csv."""
    competition: str = "youtube8m-2018"
    """Where --kaggle submits it: the competition's name in its address at Kaggle."""

    def __post_init__(self) -> None:
        if not 1 <= self.top_k <= 20:
            raise ConfigError(f"submission.top-k must be from 1 to 20, not {self.top_k}")
