"""What comes out: predictions, their blend, the challenge's file."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pipeline.config.checked import CheckedFields
from pipeline.config.errors import ConfigError
from pipeline.config.ranges import Matching, TopK, Videos, Within

_Competition = Annotated[str, Matching(r"[A-Za-z0-9][A-Za-z0-9-]*", "letters, digits and -, as at Kaggle")]


@dataclass(frozen=True)
class InferenceConfig(CheckedFields, section="inference"):
    """How predictions are made and kept."""

    batch_size: Videos = 256
    """Videos in one pass through the device."""
    top_k: TopK = 100
    """Labels kept for each video."""
    videos_per_part: Annotated[int, Within(1, 10_000_000, unit="videos")] = 8192
    """Videos in one Parquet file: what a killed run loses at most."""


@dataclass(frozen=True)
class EnsembleConfig(CheckedFields, section="ensemble"):
    """How runs are blended. What is chosen is chosen on one half of the hold-out, and reported on the other."""

    combine: Literal["probabilities", "logits", "ranks"] = "probabilities"
    """What is averaged; a rank is a score's place among those that its model gave to the hold-out."""
    method: Literal["auto", "equal", "given", "greedy", "coordinate"] = "auto"
    """Whence the weights: greedy adds, again and again, the run that raises GAP most; coordinate tunes each weight in
    turn, from the best of a single run, equal weights, and greedy. auto is given with --ensemble.given, and else
    coordinate, or equal where the hold-out has no labels."""
    given: tuple[Annotated[float, Within(0, 1_000_000)], ...] = ()
    """Weights, in the order of --runs."""
    select: Literal["all", "top", "best"] = "all"
    """Runs that may have a weight: every one, the best few (--ensemble.top-runs), or the best alone."""
    top_runs: Annotated[int, Within(1, 10_000, unit="runs")] | None = None
    """How many, with --ensemble.select top."""
    top_k: TopK = 100
    """Labels kept for each video."""

    def check_together(self) -> None:
        if bool(self.given) != (self.method == "given") and not (self.given and self.method == "auto"):
            raise ConfigError("ensemble.method given and ensemble.given, a weight for each run, belong together")
        if self.given and not any(self.given):
            raise ConfigError(f"ensemble.given must not be all 0: {list(self.given)}")
        if self.given and self.select != "all":
            raise ConfigError("ensemble.given weighs every run: leave out ensemble.select")
        if self.select == "best" and self.method != "auto":
            raise ConfigError(f"ensemble.select best takes one run: ensemble.method {self.method} weighs several")
        if (self.select == "top") != (self.top_runs is not None):
            raise ConfigError("ensemble.select top and ensemble.top-runs belong together")


@dataclass(frozen=True)
class SubmissionConfig(CheckedFields, section="submission"):
    """The challenge's file."""

    top_k: Annotated[int, Within(1, 20, unit="labels")] = 20
    """Pairs of label and confidence for each video; the challenge takes 20 at most."""
    gzip: bool = False
    """Write .csv.gz; its name, a hash of the text, is that of the .csv."""
    competition: _Competition = "youtube8m-2018"
    """Where --kaggle submits it: the competition's name in its address at Kaggle."""
