"""A blend's GAP under new weights, as tuning asks for it, against blending and scoring the models' lists anew.

    python -m benchmarks.ensemble

The peer blends the 100 labels that each model keeps of a video and streams the blend through the metrics. Ours lines
the lists up once, which is timed by itself, and then only weighs. Greedy selection and coordinate ascent are timed from
their first blend to the last; scores and labels are made up, for models that agree as trained ones do.
"""

import dataclasses

import numpy as np
import tyro

from benchmarks.figures import Common, Figure, interleaved, show
from pipeline.ensembling.candidates import Candidates
from pipeline.ensembling.combining import blend
from pipeline.ensembling.tuning import coordinate_ascent, greedy_selection, rank_alone
from pipeline.metrics import LabelLists, StreamingMetrics, top_k


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    videos: int = 2000
    models: int = 30
    classes: int = 3862
    kept: int = 100


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    labels, scores, truth = _made_up(flags)
    weights = np.ones(flags.models)
    names = [f"model {number}" for number in range(flags.models)]
    found: dict[str, float] = {}
    aligned: list[Candidates] = [Candidates.align(labels, scores, truth, flags.classes)]

    def align() -> None:
        aligned[0] = Candidates.align(labels, scores, truth, flags.classes)

    def ours() -> None:
        found["ours"] = aligned[0].score(weights)

    def anew() -> None:
        metrics = StreamingMetrics(flags.classes)
        metrics.accumulate(*blend(labels, scores, weights, flags.kept, flags.classes), truth)
        found["anew"] = metrics.gap()

    def tune() -> None:
        gap = aligned[0].score
        best = rank_alone(gap, names)[0]
        found["alone"] = best.score
        found["tuned"] = coordinate_ascent(
            gap, greedy_selection(gap, names, best, range(flags.models))[-1], range(flags.models)
        )[-1].score

    tune()  # compiled, and kept, before anything is timed
    sides = {"ours": ours, "blended and scored anew": anew, "ours, lining up": align, "ours, the whole search": tune}
    seconds = interleaved(flags.rounds, sides)
    if abs(found["ours"] - found["anew"]) > 1e-6 or found["tuned"] < found["alone"]:
        raise SystemExit(f"wrong: {found}")
    case = f"{flags.videos:,} videos, {flags.models} models, {flags.kept} of {flags.classes} labels"
    figures = [Figure(case, who, flags.videos / taken, "videos/s") for who, taken in seconds.items()]
    figures.append(Figure("memory of what is lined up", "ours", aligned[0].nbytes / flags.videos / 1e3, "kB a video"))
    ratio = seconds["blended and scored anew"] / seconds["ours"]
    show([*figures, Figure("of blending and scoring anew", "ours", ratio, "times")], flags.json, "ensemble")


def _made_up(flags: Flags) -> tuple[list[np.ndarray], list[np.ndarray], LabelLists]:
    """Lists of the models, int [N,K] and float32 [N,K], and true labels, frequent classes first."""
    rng = np.random.default_rng(0)
    shares = 1 / np.arange(1, flags.classes + 1)
    draws = [rng.choice(flags.classes, rng.integers(1, 7), p=shares / shares.sum()) for _ in range(flags.videos)]
    truth = LabelLists.of([np.unique(draw) for draw in draws])
    logits = rng.normal(0.9 * np.log(shares) - 3, 1.4, (flags.videos, flags.classes)).astype(np.float32)
    logits[np.repeat(np.arange(flags.videos), np.diff(truth.offsets)), truth.values] += 6
    labels, scores = [], []
    for model in range(flags.models):
        own = logits + np.float32(0.35 + 0.01 * model) * rng.standard_normal(logits.shape, np.float32)
        for kept, array in zip((labels, scores), top_k(1 / (1 + np.exp(-own)), flags.kept)):
            kept.append(array)
    return labels, scores, truth


if __name__ == "__main__":
    main()
