"""Choose some videos of a split: their labels, what a run predicts, and which frames it looks at."""

from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup

from pipeline.inputs.index import Index
from pipeline.inputs.predicted import read_together
from pipeline.metrics import LabelLists
from pipeline.metrics.matching import hash_label_sets, matches, telling_videos, video_precisions, videos_at_a_time
from pipeline.reporting import heat
from pipeline.reporting.runs import Run

LEAST = 5
"""The number of predictions shown of a video; more if it has more labels, but not more than MOST."""
MOST = 12


@dataclass
class Video:
    """One video, and what a run predicts for it."""

    row: int
    kind: str
    """best, middle or worst: how well the run predicts it."""
    id: str
    num_frames: int
    precision: float
    """Average precision of all predictions that are kept."""
    labels: list[tuple[str, int | None]]
    """The name of each true label, and its rank among the predictions, from 1; None if it is not kept."""
    predictions: list[tuple[str, float, bool]]
    """The first ones: name, confidence, and whether the label is true."""
    pictures: list[tuple[str, int, Markup]] = field(default_factory=list)
    """For each feature: its name, its number of clusters, and the picture; empty if the family has no clusters."""


def choose_videos(run: Run, index: Index, split: str, names: list[str]) -> list[Video]:
    """Return the videos of a split that are predicted best, in the middle, and worst, in this order."""
    stores = [run.store(split)]
    judged = [
        _judge(chosen, part.labels, part.scores, index) for chosen, (part,) in read_together(stores, index, split)
    ]
    kinds = telling_videos(*map(np.concatenate, zip(*judged))) if judged else {}
    kind_of = {place: kind for kind, places in kinds.items() for place in places}
    found, done = {}, 0
    for chosen, (part,) in read_together(stores, index, split):
        for place in range(done, done + len(chosen)):
            if place in kind_of:
                at = place - done
                row, labels, scores = int(chosen[at]), part.labels[at : at + 1], part.scores[at]
                truth = LabelLists(*index.labels_of(chosen[at : at + 1]))
                correct, where = matches(labels, truth, index.dataset.num_classes)
                shown = min(max(LEAST, len(truth.values)), MOST, labels.shape[1])
                found[place] = Video(
                    row,
                    kind_of[place],
                    part.ids[at],
                    int(index.num_frames[row]),
                    float(video_precisions(correct, np.diff(truth.offsets))[0]),
                    [
                        (names[label], place + 1 if place < labels.shape[1] else None)
                        for place, label in sorted(zip(where.tolist(), truth.values.tolist()))
                    ],
                    [
                        (names[label], score, right)
                        for label, score, right in zip(labels[0].tolist(), scores.tolist(), correct[0].tolist())
                    ][:shown],
                )
        done += len(chosen)
    return [found[place] for place in kind_of]


def add_frame_weights(run: Run, index: Index, videos: list[Video]) -> None:
    """Load a run's model, and give each video the pictures of what it looks at. Start the backend first."""
    from pipeline.inference.frame_weights import frame_weights_of_run

    weights, valid = frame_weights_of_run(run.folder, index, np.array([video.row for video in videos]))
    for number, video in enumerate(videos):
        if valid[number] > 1:
            video.pictures = [
                (feature, values.shape[-1], heat.heat_map(values[number, : valid[number]], feature))
                for feature, values in weights.items()
            ]


def _judge(rows: np.ndarray, labels: np.ndarray, scores: np.ndarray, index: Index) -> tuple[np.ndarray, ...]:
    """Return for each video: average precision, number of labels, first confidence, and a hash of its labels."""
    precisions, numbers, sets = [], [], []
    step = videos_at_a_time(index.dataset.num_classes)
    for low in range(0, len(rows), step):
        truth = LabelLists(*index.labels_of(rows[low : low + step]))
        correct, _ = matches(labels[low : low + step], truth, index.dataset.num_classes)
        numbers.append(np.diff(truth.offsets))
        precisions.append(video_precisions(correct, numbers[-1]))
        sets.append(hash_label_sets(truth, index.dataset.num_classes))
    return np.concatenate(precisions), np.concatenate(numbers), scores[:, 0], np.concatenate(sets)
