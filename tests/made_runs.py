"""Runs as training leaves them, without the training: weights that were drawn, an index of small shards beside them."""

import json
from pathlib import Path

import numpy as np
from support import SMALL, write_shard

from pipeline.artifacts import Done, write_json
from pipeline.config import (
    AverageConfig,
    ClassifierConfig,
    DatasetConfig,
    ModelConfig,
    NetVLADConfig,
    SamplingConfig,
    to_dict,
)
from pipeline.inputs.checking import check_shard
from pipeline.inputs.index import Index, Source
from pipeline.inputs.indexing import write_index
from pipeline.training.stored import digest_model

AVERAGE = ModelConfig("average", AverageConfig(), ClassifierConfig(hidden=128))
NETVLAD = ModelConfig("netvlad", NetVLADConfig((8,)), ClassifierConfig(hidden=64))
ALL, FIVE = SamplingConfig(evaluation="all"), SamplingConfig(frames=5)
RUNS = {"average": (AVERAGE, ALL), "netvlad": (NETVLAD, FIVE)}
PRESET = '''"""Nine classes."""

from pipeline.config import *

MODELS = ("average", "netvlad")


def experiment(model):
    return Experiment({dataset!r}, ModelConfig(model, POOLING[model]()), inference=InferenceConfig(16, 9, 16))
'''


def drawn_model(model: ModelConfig, dataset: DatasetConfig, seed: int):
    """A model whose weights and running statistics are no longer those that it begins with."""
    import keras

    from pipeline.models import build_model

    keras.utils.set_random_seed(seed)
    built, rng = build_model(model, dataset), np.random.default_rng(seed)
    for weight in built.weights:
        values = keras.ops.convert_to_numpy(weight)
        noise = rng.normal(size=values.shape)
        weight.assign(values * np.exp(0.2 * noise) if "variance" in weight.path else values + 0.1 * noise)
    return built


def make_run(folder: Path, model: ModelConfig, sampling: SamplingConfig, dataset: DatasetConfig, seed: int) -> Path:
    """The folder of a finished run."""
    folder.mkdir(parents=True)
    drawn_model(model, dataset, seed).save(folder / "model.keras")
    config = {
        "preset": "small",
        "dataset": to_dict(dataset),
        "sampling": to_dict(sampling),
        "model": to_dict(model),
        "training": {"precision": "mixed_bfloat16"},
    }
    write_json(folder / "config.json", {**config, "inputs": {"index": "1"}})
    write_json(folder / "summary.json", {"run": folder.name, "best": {"gap": 0.1 + seed / 100}})
    Done(config, {"index": "1"}, digest_model(folder / "model.keras")).write(folder)
    return folder


def make_index(folder: Path, dataset: DatasetConfig) -> Index:
    """60 videos to train on, half of them held out, and 20 to test."""
    sources = [Source(folder.parent / "raw" / split / f"{split}0.tfrecord", split) for split in ("train", "test")]
    write_shard(sources[0].path, range(60))
    write_shard(sources[1].path, range(60, 80))
    folder.mkdir(parents=True)
    write_index(folder, dataset, sources, [check_shard(source.path, dataset) for source in sources])
    return Index.open(folder)


def make_all(folder: Path) -> Path:
    """Below `folder`: data/small/index, runs/small/{average,netvlad}, and a preset; its path."""
    from dataclasses import replace

    dataset = replace(SMALL, holdout_percent=50)
    make_index(folder / "data" / "small" / "index", dataset)
    for seed, (name, (model, sampling)) in enumerate(RUNS.items()):
        make_run(folder / "runs" / "small" / name, model, sampling, dataset, seed)
    preset = folder / "small.py"
    preset.write_text(PRESET.replace("{dataset!r}", repr(dataset)), encoding="utf-8")
    return preset


def weights_json(folder: Path, combine: str = "probabilities") -> dict:
    """What `ensemble` would write for the two runs below `folder`, a third of the weight on the first."""
    members = [
        {"run": name, "path": str(folder / "runs" / "small" / name), "weight": weight}
        for name, weight in zip(RUNS, (1 / 3, 2 / 3))
    ]
    return json.loads(json.dumps({"combine": combine, "method": "given", "top_k": 9, "members": members}))
