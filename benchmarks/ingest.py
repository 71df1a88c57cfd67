"""Ingest: its speed beside just reading the files with all checksums on; and an index of millions of videos.

    python -m benchmarks.ingest [--shards 16] [--rounds 5] [--index-videos 5000000]

Speed: made-up frame-level shards of YouTube-8M's format, in the page cache, both with as many fresh processes. The peer
is a plain loop over the records with google_crc32c, and keeps nothing; ingest parses every record and writes the index.

Index: label sets drawn from the 973,936 real ones of the 2018 validate split where $YT8M_SHARED_DATA (default
../shared/data) has them, else from YouTube-8M's law; offsets made up. It is written in one process, and opened and
permuted for an epoch in another, as ingest and train do. Peaks are of the whole process, with all that it imports.
"""

import csv
import dataclasses
import functools
import gzip
import itertools
import multiprocessing
import os
import resource
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import google_crc32c
import numpy as np
import tyro

from benchmarks.figures import Common, Figure, interleaved, show
from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.inputs.index import LEFT_OUT, ROWS, Index, Source
from pipeline.inputs.index.build import write_index
from pipeline.inputs.index.check import ShardReport
from pipeline.inputs.index.resume import check_shard_once
from pipeline.inputs.records import encoding, synthetic, tfrecord
from pipeline.runtime.parallel import default_workers, map_in_processes

YOUTUBE8M = DatasetConfig("youtube8m", (FeatureConfig("rgb", 1024), FeatureConfig("audio", 128)), 3862)


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    shards: int = 16
    """Frame-level shards to read; 0 leaves this out."""
    videos: int = 250
    """Videos a shard: about 68 MB."""
    workers: int = default_workers()
    """Processes of either side."""
    index_videos: int = 5_000_000
    """Videos of the index; 0 leaves it out."""


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        if flags.shards:
            figures += _compare(Path(folder), flags)
        if flags.index_videos:
            figures += _index(Path(folder), flags.index_videos)
    show(figures, flags.json, f"ingest, {flags.workers} processes")


# -------------------------------------------------------------------------------------------------------------- speed


def _compare(folder: Path, flags: Flags) -> list[Figure]:
    shards = [folder / f"{number:04d}.tfrecord" for number in range(flags.shards)]
    list(map_in_processes(functools.partial(_write_shard, videos=flags.videos), shards, flags.workers))
    size = sum(path.stat().st_size for path in shards)
    numbers = itertools.count()
    sides = {
        "ingest": lambda: _ingest(shards, flags.workers, folder / f"round{next(numbers)}"),
        "reading, checksums on": lambda: _read(shards, flags.workers),
    }
    seconds = interleaved(flags.rounds, sides)
    peak = max(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, _peak())
    what = f"{size / 1e9:.2f} GB, {flags.shards} shards of {flags.videos} videos"
    figures = [Figure(what, who, size / taken / 1e6, "MB/s") for who, taken in seconds.items()]
    share = seconds["reading, checksums on"] / seconds["ingest"]
    return [
        *figures,
        Figure("of reading", "ingest", share, "share"),
        Figure("peak memory, the largest process", "ingest", peak / 1e6, "MB"),
    ]


def _write_shard(path: Path, videos: int) -> None:
    """Frames of random bytes: parsing does not look at them."""
    random = np.random.default_rng(int(path.stem))
    with path.open("wb") as file:
        for number in range(videos):
            count = int(random.integers(120, 301))
            frames = {
                feature.key: np.frombuffer(random.bytes(count * feature.size), np.uint8).reshape(count, feature.size)
                for feature in YOUTUBE8M.features
            }
            context = {"id": f"{path.stem}{number}", "labels": random.integers(0, 3862, 3)}
            tfrecord.write_records(file, [encoding.encode_sequence_example(context, frames)])


def _read(shards: list[Path], workers: int) -> None:
    assert sum(map_in_processes(_read_shard, shards, workers)) > 0


def _read_shard(path: Path) -> int:
    records = 0
    with path.open("rb") as file:
        while header := file.read(12):
            length, length_crc = struct.unpack("<QI", header)
            payload = file.read(length)
            (payload_crc,) = struct.unpack("<I", file.read(4))
            for data, expected in ((header[:8], length_crc), (payload, payload_crc)):
                crc = google_crc32c.value(data)
                assert ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF == expected
            records += 1
    return records


def _ingest(shards: list[Path], workers: int, folder: Path) -> None:
    for name in ("work", "index"):
        (folder / name).mkdir(parents=True)
    check = functools.partial(check_shard_once, dataset=YOUTUBE8M, folder=folder / "work")
    sources = [Source(path, "train") for path in shards]
    summary = write_index(folder / "index", YOUTUBE8M, sources, map_in_processes(check, shards, workers))
    assert not summary["quarantined"]["count"]


# -------------------------------------------------------------------------------------------------------------- index


def _index(folder: Path, videos: int) -> list[Figure]:
    folder = folder / "millions"
    folder.mkdir()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        drawn_from, written, writing_peak = pool.apply(_write_millions, (folder, videos))
    size = sum((folder / name).stat().st_size for name in (ROWS, LEFT_OUT))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        opened, permuted, peak = pool.apply(_open_millions, (folder,))
    what = f"index of {videos:,} videos, label sets {drawn_from}"
    figures = {
        "size": (size / 1e6, "MB"),
        "written": (written, "s"),
        "written, peak memory": (writing_peak / 1e6, "MB"),
        "opened": (opened, "s"),
        "epoch permuted": (permuted, "s"),
        "opened and permuted, peak memory": (peak / 1e6, "MB"),
    }
    return [Figure(f"{what}: {case}", "ingest", value, unit) for case, (value, unit) in figures.items()]


def _write_millions(folder: Path, videos: int) -> tuple[str, float, int]:
    sets, drawn_from = _label_sets()
    shards = max(2, 3844 * videos // 5_000_000)
    splits = ["train"] * (shards - shards // 5) + ["test"] * (shards // 5)
    sources = [Source(folder / f"{split}{number:04d}.tfrecord", split) for number, split in enumerate(splits)]
    began = time.perf_counter()
    summary = write_index(folder, YOUTUBE8M, sources, _reports(sources, videos, *sets))
    assert sum(summary["counts"].values()) == videos and not summary["duplicates"]["count"]
    return drawn_from, time.perf_counter() - began, _peak()


def _reports(sources: list[Source], videos: int, labels: np.ndarray, offsets: np.ndarray) -> Iterator[ShardReport]:
    random = np.random.default_rng(0)
    bounds = np.linspace(0, videos, len(sources) + 1).astype(int)
    for source, start, stop in zip(sources, bounds, bounds[1:]):
        count = stop - start
        num_frames = random.integers(120, 301, count).astype(np.int32)
        lengths = (1170 * num_frames).astype(np.int32)
        chosen = random.integers(0, len(offsets) - 1, count)
        sizes = np.diff(offsets)[chosen] if source.split == "train" else np.zeros(count, np.int64)
        ends = np.concatenate([[0], np.cumsum(sizes)])
        yield ShardReport(
            path=str(source.path),
            size=int(lengths.sum() + 16 * count),
            modified=0,
            records=int(count),
            ids=synthetic.video_ids(0, "train", range(start, stop)),
            offsets=np.cumsum(lengths + 16, dtype=np.int64) - lengths - 4,
            lengths=lengths,
            checksums=random.integers(0, 1 << 32, count, np.uint32),
            num_frames=num_frames,
            cut=0,
            labels=labels[np.repeat(offsets[:-1][chosen] - ends[:-1], sizes) + np.arange(ends[-1])],
            label_offsets=ends,
            labeled=np.full(count, source.split == "train"),
            groups=[],
            quarantined=[],
            values=np.zeros((2, 256), np.int64),
            peaks=np.zeros((count, 2), np.float32),
        )


def _label_sets() -> tuple[tuple[np.ndarray, np.ndarray], str]:
    path = Path(os.environ.get("YT8M_SHARED_DATA") or "../shared/data") / "validate_labels.csv.gz"
    if path.exists():
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            rows = [np.array(row[1].split(), np.int32) for row in csv.reader(file) if row[1][:1].isdigit()]
        what = f"of {len(rows):,} real videos"
    else:
        words, random = synthetic.vocabulary(3862, 0), np.random.default_rng(0)
        rows = [words.draw(random).astype(np.int32) for _ in range(50_000)]
        what = "drawn by YouTube-8M's law"
    return (np.concatenate(rows), np.concatenate([[0], np.cumsum([len(row) for row in rows])])), what


def _open_millions(folder: Path) -> tuple[float, float, int]:
    from pipeline.training.batches import EpochSampler

    began = time.perf_counter()
    index = Index.open(folder)
    opened = time.perf_counter() - began
    began = time.perf_counter()
    sampler = EpochSampler(index.rows("train"), 80, 0)
    sampler.step(0)
    return opened, time.perf_counter() - began, _peak()


def _peak() -> int:
    """Bytes that this process had in memory at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
