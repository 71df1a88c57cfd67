"""Windows: what the scores of all windows of a video cost, beside one pass over its frames and the classifier.

    python -m benchmarks.windows [--seconds 300] [--models average netvlad attention_cluster]

A video of random frames, one a second, as YouTube-8M stores them, and a classifier of 1,000 classes. `windows` is what
`predict --window W --every 5` computes. `one pass` pools the frames once, as one video, and classifies as many
descriptors as there are windows: no less will do. `each alone` predicts each window as a video of its own.
"""

import dataclasses

import numpy as np
import tyro

from benchmarks.figures import Common, Figure, interleaved, show
from pipeline.config import POOLING, ClassifierConfig, DatasetConfig, FeatureConfig, ModelConfig
from pipeline.inference.windows.models import WindowModel
from pipeline.runtime import backend

EVERY = 5
"""Seconds between the beginnings of two windows."""


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    seconds: int = 300
    """Length of the video, in frames of one second."""
    models: tuple[str, ...] = ("average", "netvlad", "attention_cluster")
    windows: tuple[int, ...] = (10, 30, 60)
    """Seconds that a window lasts."""
    repeats: int = 10
    """How often each side runs in a round."""


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    backend.start_backend()
    dataset = DatasetConfig(
        "benchmark", (FeatureConfig("rgb", 1024), FeatureConfig("audio", 128)), num_classes=1000, max_frames=300
    )
    frames = np.random.default_rng(0).integers(0, 256, (flags.seconds, 1152), dtype=np.uint8)
    figures = [figure for name in flags.models for figure in _of_family(name, dataset, frames, flags)]
    show(figures, flags.json, f"a video of {flags.seconds} frames, windows every {EVERY}")


def _of_family(name: str, dataset: DatasetConfig, frames: np.ndarray, flags: Flags) -> list[Figure]:
    import keras

    from pipeline.models import build_model
    from pipeline.models.pooling import Pooling

    model = build_model(ModelConfig(name, POOLING[name](), ClassifierConfig(hidden=512)), dataset)
    poolings = [layer.output for layer in model.layers if isinstance(layer, Pooling)]
    pooled, rest = keras.Model(model.input, poolings), keras.Model(poolings, model.output)
    whole = {"frames": frames[None], "num_frames": np.array([len(frames)], np.int32)}
    descriptors = [np.asarray(each) for each in pooled.predict_on_batch(whole)]
    figures = []
    for window in flags.windows:
        starts = np.arange(0, len(frames) - window + 1, EVERY)
        scorer = WindowModel(model, len(starts))
        many = [each.repeat(len(starts), axis=0) for each in descriptors]
        each = {"frames": frames[starts[:, None] + np.arange(window)], "num_frames": np.full(len(starts), window)}

        def one_pass(many=many) -> None:
            pooled.predict_on_batch(whole)
            rest.predict_on_batch(many)

        sides = {
            "windows": lambda scorer=scorer, starts=starts, window=window: scorer.probabilities(
                frames, starts, np.arange(window)
            ),
            "one pass": one_pass,
            "each alone": lambda each=each: model.predict_on_batch(each),
        }
        for run in sides.values():  # compiled before it is timed
            run()
        seconds = interleaved(flags.rounds, {who: _repeated(run, flags.repeats) for who, run in sides.items()})
        case = f"{name}, {len(starts)} windows of {window}"
        figures += [Figure(case, who, 1e3 * taken / flags.repeats, "ms") for who, taken in seconds.items()]
        figures.append(Figure(f"{case}, to one pass", "windows", seconds["windows"] / seconds["one pass"], ""))
    return figures


def _repeated(run, times: int):
    def repeat() -> None:
        for _ in range(times):
            run()

    return repeat


if __name__ == "__main__":
    main()
