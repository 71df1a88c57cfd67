"""Settings of what comes out: predictions, their ensemble, and the challenge's submission file."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pipeline.config.checked import LEFT_OUT_AT_DEFAULT, CheckedFields
from pipeline.config.errors import ConfigError
from pipeline.config.monitor import Monitor
from pipeline.config.ranges import Devices, Matching, TopK, Videos, Within

CHALLENGE_PAIRS = 20
"""The most labels that the challenge accepts for a video, each with its confidence."""
_MOST_KEPT, _USUALLY_KEPT = 1024, 100
_Competition = Annotated[str, Matching(r"[A-Za-z0-9][A-Za-z0-9-]*", "letters, digits and -, as at Kaggle")]


def labels_kept(top_k: int | None, num_classes: int) -> int:
    """Return how many labels of each video are kept at most, where `top_k` of the settings may be None.

    Of 100 classes or fewer it is 100, as earlier versions noted it, so that their predictions are up to date.
    """
    if top_k is not None:
        return top_k
    return max(num_classes, _USUALLY_KEPT) if num_classes <= _MOST_KEPT else _USUALLY_KEPT


@dataclass(frozen=True)
class InferenceConfig(CheckedFields, section="inference"):
    """How predictions are computed and stored."""

    batch_size: Videos = 256
    """Batch size: number of videos in one pass through the device. Larger batches need more memory."""
    top_k: TopK | None = None
    """Number of labels kept for each video, those with the highest scores.
    By default all of up to 1,024 classes, so that every metric is exact; 100 of more classes."""
    videos_per_part: Annotated[int, Within(1, 10_000_000, unit="videos")] = 8192
    """Number of videos in one Parquet file of predictions: as many as a killed run loses at most."""
    devices: Devices = field(default="all", metadata=LEFT_OUT_AT_DEFAULT)
    """Number of accelerators of this machine that share each batch of `infer` and `soup`, or all that are seen; more
    than one need KERAS_BACKEND=jax. `train` predicts on --training.devices, `predict` and `export` on one."""


@dataclass(frozen=True)
class EnsembleConfig(CheckedFields, section="ensemble"):
    """How runs are blended. All choices are made on one half of the hold-out, and scores are reported on the other."""

    combine: Literal["probabilities", "logits", "ranks"] = "probabilities"
    """Scale on which scores are averaged. A rank is a score's place among those that its model gave to the hold-out."""
    method: Literal["auto", "equal", "given", "greedy", "coordinate"] = "auto"
    """How each run gets its weight. equal: all have the same. given: those of --ensemble.given.
    greedy: the run that raises the metric most is added, again and again.
    coordinate: each weight is tuned in turn, from the best of a single run, equal weights and greedy.
    auto: given with --ensemble.given, otherwise coordinate, or equal where the hold-out has no labels."""
    given: tuple[Annotated[float, Within(0, 1_000_000)], ...] = ()
    """Weights of the runs, in the order of --runs; only their proportions matter."""
    select: Literal["all", "top", "best"] = "all"
    """Runs that may get a weight: all, the best few (top, see --ensemble.top-runs), or the best one alone."""
    top_runs: Annotated[int, Within(1, 10_000, unit="runs")] | None = None
    """Number of runs that may get a weight, with --ensemble.select top."""
    top_k: TopK | None = None
    """Number of labels kept for each video, those with the highest scores; by default as many as the runs keep."""
    monitor: Monitor | None = field(default=None, metadata=LEFT_OUT_AT_DEFAULT)
    """Metric by which runs and weights are chosen; by default the one that the runs were trained by, see
    --training.monitor, or gap where they differ."""

    def check_together(self) -> None:
        if bool(self.given) != (self.method == "given") and not (self.given and self.method == "auto"):
            raise ConfigError(
                "ensemble.method given and ensemble.given, a weight for each run, belong together: give both or neither"
            )
        if self.given and not any(self.given):
            raise ConfigError(
                f"ensemble.given must not be all 0: {list(self.given)}; give at least one run a weight above 0"
            )
        if self.given and self.select != "all":
            raise ConfigError("ensemble.given weighs every run: leave out ensemble.select")
        if self.select == "best" and self.method != "auto":
            raise ConfigError(f"ensemble.select best takes one run: ensemble.method {self.method} weighs several")
        if (self.select == "top") != (self.top_runs is not None):
            raise ConfigError("ensemble.select top and ensemble.top-runs belong together: give both or neither")


@dataclass(frozen=True)
class SubmissionConfig(CheckedFields, section="submission"):
    """What the submission file holds, and where it is submitted."""

    top_k: Annotated[int, Within(1, CHALLENGE_PAIRS, unit="labels")] | None = None
    """Number of labels written for each video. By default 20, each with its confidence, which is all that the challenge
    accepts; with --like, as many as a row of the sample has at most."""
    gzip: bool = False
    """Compress the file (.csv.gz). The hash in its name is that of the text, the same as without compression."""
    competition: _Competition = "youtube8m-2018"
    """Kaggle competition to which --kaggle submits: its name as in its address at Kaggle."""
