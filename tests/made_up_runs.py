"""Runs that nobody trained: an index of labelled videos, and predictions of them with more or less noise."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from support import SMALL, labels_of, write_shard

from pipeline.artifacts import Done, write_json
from pipeline.inputs.checking import check_shard
from pipeline.inputs.index import Index, Source
from pipeline.inputs.indexing import write_index
from pipeline.metrics import top_k
from pipeline.store import Predictions, PredictionStore
from pipeline.training.stored import MODEL, digest_model

DATASET = dataclasses.replace(SMALL, num_classes=30, holdout_percent=60)
VIDEOS = 240


def make_index(folder: Path, holdout_percent: float = 60, splits: Sequence[str] = ("train", "test")) -> Index:
    """`folder`/data/small/index of two splits, train with its hold-out and test, and `folder`/small.py, its preset."""
    dataset = dataclasses.replace(DATASET, holdout_percent=holdout_percent)
    sources = [Source(folder / "data" / "small" / "raw" / split / "all.tfrecord", split) for split in splits]
    for first, source in zip((0, VIDEOS), sources):
        write_shard(source.path, range(first, first + VIDEOS))
    index = folder / "data" / "small" / "index"
    index.mkdir(parents=True)
    write_index(index, dataset, sources, [check_shard(source.path, dataset) for source in sources])
    (folder / "small.py").write_text(
        f"from pipeline.config import *\nMODELS = ('average',)\n"
        f"def experiment(model):\n    return Experiment({dataset!r}, ModelConfig(model, POOLING[model]()))\n"
    )
    return Index.open(index)


def make_run(folder: Path, index: Index, name: str, noise: float, splits=("holdout", "test"), kept: int = 25) -> Path:
    """A run that knows the labels but for noise of its own: `folder`/runs/small/`name`, in parts of 32 videos."""
    run = folder / "runs" / "small" / name
    write_json(run / "config.json", {"inputs": {"index": index.digest}})
    Done({}, {"index": index.digest}, f"model {name}").write(run)
    for split in splits:
        rows = index.rows(split)
        rng = np.random.default_rng([len(rows), *name.encode()])
        known = np.zeros((len(rows), DATASET.num_classes), np.float32)
        for video, id in enumerate(index.ids_of(rows)):
            known[video, labels_of(int(id[1:]))] = 1
        labels, scores = top_k(1 / (1 + np.exp(4 - 8 * known - noise * rng.normal(size=known.shape))), kept)
        store = PredictionStore(run / "predictions" / split)
        config, inputs = {"noise": noise}, {"index": index.digest, "model": f"model {name}"}
        for number, videos in store.begin(config, inputs, len(rows), 32):
            part = slice(videos.start, videos.stop)
            store.write(number, Predictions(index.ids_of(rows[part]), labels[part], scores[part]))
        store.finish(config, inputs)
    return run


def give_model(run: Path, model) -> None:
    """Let a run's predictions be those of a Keras model, which it gets."""
    model.save(run / MODEL)
    digest = digest_model(run / MODEL)
    Done({}, Done.read(run).inputs, digest).write(run)
    for folder in (path.parent for path in run.glob("predictions/*/done.json")):
        done = Done.read(folder)
        dataclasses.replace(done, inputs={**done.inputs, "model": digest}).write(folder)
