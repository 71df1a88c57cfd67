"""Is a score of five folds surer than that of a hold-out? On features of one's own, and on few clips of AudioSet.

    python -m benchmarks.own.folds --data DIR [--datasets vowels birds audioset1 audioset5 audioset20] [--model average]

DIR is a folder of real data with own/japanese_vowels, own/birds and audioset; audioset5 has 5 % of its training clips.
Each dataset is packed and trained with the preset that pack writes:

    hold-outs   five runs, each with another fifth of the training videos as its hold-out, by a hash of seed and id
    folds       three runs in five folds, each with other folds: the ids, by which videos are dealt out, have another
                beginning

Prints GAP@20 on what is held out and on the test split, as means and standard deviations over the runs; of folds it is
that of all out-of-fold predictions, and of the mean of the five models. Writes benchmarks/results/folds.csv, with the
score of each fold too. Finished runs are skipped when it is run again.
"""

import csv
import dataclasses
import hashlib
import shutil
import statistics
from pathlib import Path

import tyro

from benchmarks.machine import machine
from benchmarks.own.files import audioset_as_npy
from pipeline.artifacts.files import read_json
from pipeline.cli.running import call_stage
from pipeline.inputs.index import HOLDOUT
from pipeline.inputs.records import tfrecord
from pipeline.inputs.records.parsing import parse_record
from pipeline.presets import load_experiment
from pipeline.runtime import backend

RESULTS = Path(__file__).parent.parent / "results"
PARTS = 5
"""A hold-out is so large a part of the training videos, and there are so many hold-outs, and so many folds of a run."""
DEALS = 3
"""Runs in folds."""


@dataclasses.dataclass(frozen=True)
class Flags:
    data: Path = Path("../shared/data")
    """Folder of the real data."""
    work: Path = Path("data/folds-benchmark")
    """Folder for the packed datasets and the runs."""
    datasets: tuple[str, ...] = ("vowels", "birds", "audioset1", "audioset5", "audioset20")
    model: str = "average"


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    rows = []
    for dataset in flags.datasets:
        preset = _pack(dataset, flags)
        for seed in range(PARTS):
            rows.append({"dataset": dataset, "how": "hold-out", "number": seed, **_of_holdout(preset, seed, flags)})
            print(" ".join(map(str, rows[-1].values())), flush=True)
        for seed in range(DEALS):
            rows += [{"dataset": dataset, **row} for row in _of_folds(preset, seed, flags)]
    with (RESULTS / "folds.csv").open("w", newline="", encoding="utf-8") as file:
        lines = csv.DictWriter(
            file, ["dataset", "how", "number", "fold", "videos", "held_out", "test"], lineterminator="\n"
        )
        lines.writeheader()
        lines.writerows(rows)
    print("\n".join(table(rows)))
    print(f"\n{flags.model}; {machine()}")


def _pack(dataset: str, flags: Flags) -> Path:
    """Return the preset of a packed dataset."""
    own = flags.data / "own"
    if dataset == "vowels":
        folder = own / "japanese_vowels"
        what = ["--features", f"lpc={folder}/utterances/*", "--labels", str(folder / "utterances.csv")]
    elif dataset == "birds":
        splits = flags.work / "birds-splits.csv"
        _write_splits(own / "birds" / "labels.csv", splits)
        what = ["--features", f"segments={own}/birds/segments.h5", "--labels", str(own / "birds" / "labels.csv")]
        what += ["--splits", str(splits), "--dtype", "float32"]  # values reach 1e5
    else:
        files = _some_clips(int(dataset.removeprefix("audioset")), flags)
        what = ["--features", f"audio={files}/frames/*.npy", "--labels", str(files / "labels.csv")]
    call_stage("pack", ["--name", dataset, *what, f"--data-dir={flags.work / 'data'}"])
    return flags.work / "data" / dataset / f"{dataset}.py"


def _write_splits(labels: Path, path: Path) -> None:
    """Put a fifth of the videos into split test, by a hash of the id."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with labels.open(encoding="utf-8", newline="") as file:
        ids = [row["recording"] for row in csv.DictReader(file)]
    lines = [f"{id},{'test' if _draw('test', id) % 5 == 0 else 'train'}" for id in ids]
    path.write_text("\n".join(["recording,split", *lines, ""]), encoding="utf-8")


def _some_clips(percent: int, flags: Flags) -> Path:
    """Return a folder with links to a share of AudioSet's training clips and to all others, and with their labels."""
    source = audioset_as_npy(flags.data / "audioset", flags.work / "audioset-npy")
    folder = flags.work / f"audioset{percent}-npy"
    if (folder / "labels.csv").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "frames").mkdir(parents=True)
    with (source / "labels.csv").open(encoding="utf-8", newline="") as file:
        clips = [
            row for row in csv.DictReader(file) if row["split"] == "test" or _draw("share", row["id"]) % 100 < percent
        ]
    for row in clips:
        (folder / "frames" / f"{row['id']}.npy").symlink_to((source / "frames" / f"{row['id']}.npy").resolve())
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        lines = csv.DictWriter(file, ["id", "labels", "split"], lineterminator="\n")
        lines.writeheader()
        lines.writerows(clips)
    return folder


def _draw(what: object, id: str) -> int:
    return int(hashlib.sha256(f"{what} {id}".encode()).hexdigest(), 16)


def _of_holdout(preset: Path, seed: int, flags: Flags) -> dict[str, float]:
    """Return the scores of a run with a hold-out of its own: a fifth of the training videos."""
    raw, folder = preset.parent / "raw", flags.work / "holdouts" / preset.stem / str(seed)
    if not (folder / "whole").exists():
        dataset = load_experiment(str(preset), flags.model).dataset
        for split in ("train", HOLDOUT):
            (folder / "raw" / split).mkdir(parents=True, exist_ok=True)
        payloads = [each.payload for path in sorted((raw / "train").iterdir()) for each in tfrecord.scan_records(path)]
        held = [_draw(seed, parse_record(payload, dataset).id) % PARTS == 0 for payload in payloads]
        for split, wanted in (("train", False), (HOLDOUT, True)):
            with (folder / "raw" / split / "0.tfrecord").open("wb") as file:
                tfrecord.write_records(file, [each for each, out in zip(payloads, held) if out == wanted])
        (folder / "whole").touch()
    given = [f"{split}={folder / 'raw' / split}" for split in ("train", HOLDOUT)]
    return _scores(_train(preset, folder, flags, *given, f"test={raw / 'test'}"))


def _of_folds(preset: Path, seed: int, flags: Flags) -> list[dict]:
    """Return the scores of a run in folds: of all folds, and of each."""
    raw, folder = preset.parent / "raw", flags.work / "folds" / f"{preset.stem}{seed or ''}"
    train = _renamed(raw / "train", folder / "raw", seed, preset, flags) if seed else raw / "train"
    run = _train(preset, folder, flags, f"train={train}", f"test={raw / 'test'}", folds=PARTS)
    held = read_json(run / "predictions" / HOLDOUT / "scores.json")["folds"]
    each = [
        {"how": "fold", "number": seed, "fold": number, "videos": fold["videos"], "held_out": fold["gap"]}
        for number, fold in enumerate(held, 1)
    ]
    return [{"how": "folds", "number": seed, **_scores(run)}, *each]


def _renamed(raw: Path, folder: Path, seed: int, preset: Path, flags: Flags) -> Path:
    """Return a folder with the records of `raw`, whose ids begin with the seed: so they are dealt out anew."""
    if not (folder.parent / "whole").exists():
        import tensorflow as tf  # only now: it takes seconds

        folder.mkdir(parents=True, exist_ok=True)
        dataset = load_experiment(str(preset), flags.model).dataset
        for path in sorted(raw.iterdir()):
            records = []
            for each in tfrecord.scan_records(path):
                example = tf.train.SequenceExample.FromString(each.payload)
                key = next(filter(example.context.feature.__contains__, dataset.id_keys))
                ids = example.context.feature[key].bytes_list.value
                ids[0] = f"{seed}-".encode() + ids[0]
                records.append(example.SerializeToString())
            with (folder / path.name).open("wb") as file:
                tfrecord.write_records(file, records)
        (folder.parent / "whole").touch()
    return folder


def _train(preset: Path, folder: Path, flags: Flags, *raw: str, folds: int = 0) -> Path:
    """Return a run that is trained and has predicted."""
    places = [f"--{kind}-dir={folder / kind}" for kind in ("data", "runs")]
    given = ["--preset", str(preset), *places, "--dataset.folds", str(folds)]
    call_stage("ingest", [*given, *(token for each in raw for token in ("--raw", each))])
    call_stage("train", [*given, "--model", flags.model])
    call_stage("infer", [*given, "--model", flags.model])
    backend.forget_models()
    return folder / "runs" / preset.stem / flags.model


def _scores(run: Path) -> dict[str, float]:
    held, test = (read_json(run / "predictions" / split / "scores.json")["whole"] for split in (HOLDOUT, "test"))
    return {"videos": held["videos"], "held_out": held["gap"], "test": test["gap"]}


def table(rows: list[dict]) -> list[str]:
    """Return the scores as a table: mean ± standard deviation (n - 1) over the runs."""
    lines = [
        "| GAP@20 | five hold-outs | their test | out of fold, three runs | their test, mean of five models |",
        "| --- | --- | --- | --- | --- |",
    ]
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        own = [row for row in rows if row["dataset"] == dataset]
        cells = [
            _spread([row[split] for row in own if row["how"] == how])
            for how in ("hold-out", "folds")
            for split in ("held_out", "test")
        ]
        lines.append(f"| {dataset} | " + " | ".join(cells) + " |")
    return lines


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"


if __name__ == "__main__":
    main()
