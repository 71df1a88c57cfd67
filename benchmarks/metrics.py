"""GAP, Hit@1 and PERR of dense predictions, against the loops of Python that the challenge's own evaluation is made of.

    python -m benchmarks.metrics

The peer takes the 20 best of each video, keeps Hit@1 and PERR video by video, pools (score, correct) pairs in a heap of
bounded size, and sorts it at the end. Ours gives the same three figures, and once more all that it has, MAP too. Both
get the same batches of float32 scores and of labels.
"""

import dataclasses
import heapq

import numpy as np
import tyro

from benchmarks.figures import Common, Figure, interleaved, show
from pipeline.metrics import LabelLists, StreamingMetrics, top_k


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    videos: int = 20_000
    classes: int = 3862
    batch: int = 1000


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    rng = np.random.default_rng(0)
    scores = rng.random((flags.batch, flags.classes), np.float32) ** 8
    labels = rng.random((flags.batch, flags.classes)) < 3.4 / flags.classes
    scores[labels] = 1 - scores[labels]
    truth = LabelLists(np.nonzero(labels)[1], np.concatenate([[0], np.cumsum(labels.sum(axis=1))]))
    batches = max(flags.videos // flags.batch, 1)
    found: dict[str, float] = {}

    def accumulated() -> StreamingMetrics:
        metrics = StreamingMetrics(flags.classes)
        for _ in range(batches):
            metrics.accumulate(*top_k(scores, 20), truth)
        return metrics

    def ours() -> None:
        metrics = accumulated()
        found["ours"], _, _ = metrics.gap(), metrics.hit_at_one(), metrics.perr()

    def stored() -> None:
        metrics = StreamingMetrics(flags.classes)
        for _ in range(batches):
            metrics.accumulate(*best, truth)
        metrics.result()

    def peer() -> None:
        loops = Loops()
        for _ in range(batches):
            loops.accumulate(scores, labels)
        found["loops"] = loops.gap()

    best = top_k(scores, 20)
    sides = {
        "ours": ours,
        "ours, MAP too": lambda: accumulated().result(),
        "ours, MAP too, from stored top 20": stored,
        "loops": peer,
    }
    seconds = interleaved(flags.rounds, sides)
    if abs(found["ours"] - found["loops"]) > 1e-6:
        raise SystemExit(f"the two disagree: {found}")
    case = f"{batches * flags.batch:,} videos, {flags.classes} classes"
    figures = [Figure(case, who, batches * flags.batch / taken, "videos/s") for who, taken in seconds.items()]
    ratios = [Figure("of the loops", who, seconds["loops"] / taken, "times") for who, taken in seconds.items()]
    show(figures + ratios, flags.json, "metrics")


class Loops:
    """The peer: written as the challenge's evaluation works, video by video and pair by pair."""

    def __init__(self) -> None:
        self.pairs: list[tuple[float, bool]] = []
        self.positives = self.hits = self.videos = 0
        self.perr = 0.0

    def accumulate(self, scores: np.ndarray, labels: np.ndarray) -> None:
        for row, truth in zip(scores, labels):
            best = np.argpartition(row, -20)[-20:]
            ranked = sorted(((row[i], truth[i]) for i in best), key=lambda pair: -pair[0])
            self.hits += bool(ranked[0][1])
            count = int(truth.sum())
            if count:
                first = np.argpartition(row, -count)[-count:]
                self.perr += sum(bool(truth[i]) for i in first if row[i] > 0) / count
            self.positives += count
            self.videos += 1
            for score, correct in ranked:
                heapq.heappush(self.pairs, (float(score), bool(correct)))

    def gap(self) -> float:
        """Average precision of the pooled pairs, best first."""
        hits, total = 0, 0.0
        for place, (_, correct) in enumerate(sorted(self.pairs, key=lambda pair: -pair[0]), 1):
            if correct:
                hits += 1
                total += hits / place
        return total / max(self.positives, 1)


if __name__ == "__main__":
    main()
