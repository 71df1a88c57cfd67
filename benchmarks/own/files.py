"""AudioSet's shards as a person with features of their own has them: an npy file a clip, and a CSV of labels."""

import csv
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.inputs.records import tfrecord
from pipeline.inputs.records.parsing import parse_record
from pipeline.presets import audioset


def audioset_as_npy(source: Path, folder: Path) -> Path:
    """Write <folder>/frames/<id>.npy, uint8 [n,128], and labels.csv of id, labels and split; return the folder.

    `source` has train/ and eval/ with AudioSet's shards. Names of clips begin with - and differ by case.
    """
    labels = folder / "labels.csv"
    if labels.exists():
        return folder
    dataset = audioset.experiment("average").dataset
    (folder / "frames").mkdir(parents=True, exist_ok=True)
    with labels.with_suffix(".part").open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["id", "labels", "split"])
        for split, called in (("train", "train"), ("eval", "test")):
            for path in tqdm(sorted((source / split).iterdir()), desc=split, unit=" shards"):
                for record in tfrecord.scan_records(path):
                    video = parse_record(record.payload, dataset)
                    np.save(folder / "frames" / f"{video.id}.npy", video.features[0])
                    lines.writerow([video.id, " ".join(map(str, video.labels.tolist())), called])
    labels.with_suffix(".part").rename(labels)
    return folder
