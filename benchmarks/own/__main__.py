"""Do learnable poolings beat a mean? On three datasets of one's own features, over five seeds, with a paired test.

    python -m benchmarks.own --data DIR [--datasets vowels birds audioset] [--seeds 5]

DIR is a folder of real data with own/japanese_vowels, own/birds and audioset. Each dataset is packed from its files and
trained with the preset that pack writes: `average`, `netvlad` and `attention_cluster`, and, with the same training
videos, scikit-learn's logistic regression on each video's mean features (standardized; its C chosen on the hold-out).

    vowels      one npz an utterance, the published split; the seeds differ in initial weights and order
    birds       one HDF5; the seeds differ in which fifth of the recordings is the test split, too
    audioset    one npy a clip, made from the shards; a logistic regression for each of 527 classes

Prints GAP@20 and Hit@1 on the test split, mean and standard deviation, and for each pooling and each baseline the
paired t-test of the differences over the seeds. Where videos have one label each, as the utterances do, Hit@1 is the
top-1 accuracy, the model ends in a softmax, and the logistic regression is multinomial. Writes
benchmarks/results/own.csv. Finished runs are skipped when it is run again.
"""

import csv
import dataclasses
import functools
import hashlib
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tyro
from scipy.stats import ttest_rel
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler

from benchmarks.machine import machine
from benchmarks.own.files import audioset_as_npy
from pipeline.artifacts.files import read_json
from pipeline.cli.running import call_stage
from pipeline.config import SamplingConfig
from pipeline.inputs.index import HOLDOUT, TRAIN, Index
from pipeline.inputs.reading.batches import evaluation_batches
from pipeline.inputs.reading.reader import FrameReader
from pipeline.metrics import global_average_precision, hit_at_one
from pipeline.runtime import backend

RESULTS = Path(__file__).parent.parent / "results"
MODELS = ("average", "netvlad", "attention_cluster")
BASELINES = ("average", "logistic regression")
METRICS = {"gap": ("GAP@20", global_average_precision), "hit_at_one": ("Hit@1", hit_at_one)}
"""Name and function of each metric that is told."""
STRENGTHS = (0.01, 0.1, 1.0, 10.0)
"""Values of C that the hold-out chooses from."""


@dataclasses.dataclass(frozen=True)
class Flags:
    data: Path = Path("../shared/data")
    """Folder of the real data."""
    work: Path = Path("data/own-benchmark")
    """Folder for the packed datasets and the runs."""
    datasets: tuple[str, ...] = ("vowels", "birds", "audioset")
    seeds: int = 5


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    rows = []
    for dataset in flags.datasets:
        for seed in range(flags.seeds):
            preset = _pack(dataset, seed, flags)
            for who in (*MODELS, "logistic regression"):
                scores = _pooling(preset, who, seed, flags) if who in MODELS else _logistic(preset)
                rows.append({"dataset": dataset, "seed": seed, "model": who, **scores})
                print(" ".join(map(str, rows[-1].values())), flush=True)
    with (RESULTS / "own.csv").open("w", newline="", encoding="utf-8") as file:
        lines = csv.DictWriter(file, rows[0], lineterminator="\n")
        lines.writeheader()
        lines.writerows(row | {metric: f"{row[metric]:.5f}" for metric in METRICS} for row in rows)
    for metric, (title, _) in METRICS.items():
        print("\n".join([*table(rows, metric, title), ""]))
    print(f"\n{machine()}")


def _pack(dataset: str, seed: int, flags: Flags) -> Path:
    """Return the preset of a packed dataset."""
    own = flags.data / "own"
    name = dataset
    if dataset == "vowels":
        folder = own / "japanese_vowels"
        what = ["--features", f"lpc={folder}/utterances/*", "--labels", str(folder / "utterances.csv")]
    elif dataset == "birds":
        name = f"birds{seed}"
        splits = flags.work / f"{name}-splits.csv"
        _write_splits(own / "birds" / "labels.csv", splits, seed)
        what = ["--features", f"segments={own}/birds/segments.h5", "--labels", str(own / "birds" / "labels.csv")]
        what += ["--splits", str(splits), "--dtype", "float32"]  # values reach 1e5
    else:
        files = audioset_as_npy(flags.data / "audioset", flags.work / "audioset-npy")
        what = ["--features", f"audio={files}/frames/*.npy", "--labels", str(files / "labels.csv")]
    _stage("pack", flags, "--name", name, *what)
    return flags.work / "data" / name / f"{name}.py"


def _write_splits(labels: Path, path: Path, seed: int) -> None:
    """Put a fifth of the videos into split test, by a hash of seed and id."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with labels.open(encoding="utf-8", newline="") as file:
        ids = [row["recording"] for row in csv.DictReader(file)]
    test = [int(hashlib.sha256(f"{seed} {id}".encode()).hexdigest(), 16) % 5 == 0 for id in ids]
    lines = [f"{id},{'test' if held else 'train'}" for id, held in zip(ids, test)]
    path.write_text("\n".join(["recording,split", *lines, ""]), encoding="utf-8")


def _pooling(preset: Path, model: str, seed: int, flags: Flags) -> dict[str, float]:
    run, given = f"{model}-{seed}", ("--preset", str(preset))
    _stage("ingest", flags, *given)
    _stage("train", flags, *given, "--model", model, "--run", run, "--training.seed", str(seed))
    _stage("infer", flags, *given, "--run", run)
    backend.forget_models()
    scores = read_json(flags.work / "runs" / preset.stem / run / "predictions" / "test" / "scores.json")["whole"]
    return {metric: scores[metric] for metric in METRICS}


@functools.cache
def _logistic(preset: Path) -> dict[str, float]:
    """Score a logistic regression that is trained on what the poolings are trained on; it has no seed."""
    index = Index.open(preset.parent / "index")
    means, labels = zip(*(_means_and_labels(index, split) for split in (TRAIN, HOLDOUT, "test")))
    scale = StandardScaler().fit(means[0])
    train, holdout, test = map(scale.transform, means)
    one = index.dataset.task == "single_label"
    fits = [_fit(train, labels[0], strength, one) for strength in STRENGTHS]
    best = max(fits, key=lambda fit: global_average_precision(fit(holdout), labels[1]))
    return {metric: float(score(best(test), labels[2])) for metric, (_, score) in METRICS.items()}


def _fit(features: np.ndarray, labels: np.ndarray, strength: float, one: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from features [N,F] to probabilities [N,V]; a class without videos is never predicted.

    It is one model of all classes if each video has one label, and else a model for each class.
    """
    met = np.flatnonzero(labels.any(axis=0))
    model = LogisticRegression(C=strength, max_iter=300)
    if one:
        model.fit(features, labels[:, met].argmax(axis=1))
    else:
        model = OneVsRestClassifier(model, n_jobs=-1).fit(features, labels[:, met])

    def predict(values: np.ndarray) -> np.ndarray:
        predictions = np.zeros((len(values), labels.shape[1]))
        predictions[:, met] = model.predict_proba(values)[:, -len(met) :]
        return predictions

    return predict


def _means_and_labels(index: Index, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean frame of each video, float64 [N,F], and its labels, int [N,V]."""
    rows = index.rows(split)
    means = []
    for count, inputs in evaluation_batches(FrameReader(index), rows, SamplingConfig(evaluation="all"), 64):
        frames = inputs["frames"].astype(np.float64)  # B,T,F, zero on padding
        means.append((frames.sum(axis=1) / inputs["num_frames"][:, None])[:count])
    values, offsets = index.labels_of(rows)
    labels = np.zeros((len(rows), index.dataset.num_classes), int)
    labels[np.repeat(np.arange(len(rows)), np.diff(offsets)), values] = 1
    return np.concatenate(means), labels


def _stage(name: str, flags: Flags, *arguments: str) -> None:
    places = [f"--{kind}-dir={flags.work / kind}" for kind in ("data", "runs")]
    call_stage(name, [*arguments, *places])


def table(rows: list[dict], metric: str, title: str) -> list[str]:
    """Return the scores as a table, and a line for each paired comparison."""
    scores: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        scores.setdefault((row["dataset"], row["model"]), []).append(row[metric])
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    models = list(dict.fromkeys(row["model"] for row in rows))
    lines = [f"| {title} | " + " | ".join(datasets) + " |", "| --- |" + " --- |" * len(datasets)]
    for model in models:
        cells = [
            f"{statistics.mean(own):.4f} ± {statistics.pstdev(own):.4f}" for own in (scores[d, model] for d in datasets)
        ]
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    lines += ["", "| dataset | pooling | against | difference | p |", "| --- | --- | --- | --- | --- |"]
    for dataset in datasets:
        for pooling in MODELS[1:]:
            for baseline in BASELINES:
                ours, theirs = np.array(scores[dataset, pooling]), np.array(scores[dataset, baseline])
                p = ttest_rel(ours, theirs).pvalue if len(ours) > 1 else float("nan")
                lines.append(f"| {dataset} | {pooling} | {baseline} | {(ours - theirs).mean():+.4f} | {p:.2g} |")
    return lines


if __name__ == "__main__":
    main()
