"""Other metrics than GAP of any weights: those of what `blend` makes of the same lists."""

import numpy as np
import pytest

from pipeline.config.monitor import key_of
from pipeline.ensembling.combining import blend
from pipeline.ensembling.objectives import Lists
from pipeline.metrics import LabelLists, StreamingMetrics, top_k

CLASSES, VIDEOS = 12, 60


@pytest.mark.parametrize("kept", [(12, 12, 12), (5, 7, 3)])
@pytest.mark.parametrize("monitor", ["map", "auc", "d_prime", "hit_at_one", "perr", "top_1", "top_5"])
def test_it_is_the_metric_of_the_blend(monitor, kept):
    rng = np.random.default_rng(0)
    hot = rng.random((VIDEOS, CLASSES)) < 0.15
    truth = LabelLists.of([np.flatnonzero(row) for row in hot])
    dense = [(hot + rng.normal(0, 1 + model, hot.shape)).astype(np.float32) for model in range(3)]
    labels, values = zip(*(top_k(scores, k) for scores, k in zip(dense, kept)))
    halves = np.array_split(np.arange(VIDEOS), [20])
    parts = [
        Lists.align(
            monitor,
            [each[rows] for each in labels],
            [each[rows] for each in values],
            truth.of_videos(np.isin(np.arange(VIDEOS), rows)),
            CLASSES,
        )
        for rows in halves
    ]
    found = Lists.joined(parts)
    assert (found.positives, found.videos) == (hot.sum(), VIDEOS)
    for weights in ([1, 1, 1], [0.2, 0, 0.8], [0, 0, 3]):
        longest = max(k for k, weight in zip(kept, weights) if weight)
        metrics = StreamingMetrics(CLASSES)
        best = blend(labels, values, weights, longest, CLASSES)
        if kept[0] == CLASSES:
            metrics.accumulate(*best, truth)
            metrics.rank(*best)
            wanted = {**metrics.result(), **metrics.by_class(), **metrics.accuracy()}[key_of(monitor)]
            assert found.score(weights) == pytest.approx(wanted, abs=1e-9)
        elif monitor in ("auc", "d_prime"):
            assert found.score(weights) == 0.0, "it has no value"
        elif monitor in ("hit_at_one", "top_1"):
            metrics.accumulate(*best, truth)
            assert found.score(weights) == pytest.approx(metrics.hit_at_one(), abs=1e-9)
