"""Pack: files of features to shards, beside just reading the files.

    python -m benchmarks.pack [--videos 20000] [--rounds 3]

Made-up float32 features of 128 values, 30 to 90 frames a video, in the page cache: an npy file a video, beside
`numpy.load` of all; and an HDF5 file with a dataset a video, beside h5py reading all. Pack opens the files, reads them,
converts to float16, and writes records with checksums; both sides have as many fresh processes, and tables and
ingest are left out. The peak is that of the largest process, for a stacked HDF5 of --stacked-gb gigabytes.
"""

import dataclasses
import functools
import itertools
import multiprocessing
import resource
import tempfile
from pathlib import Path

import h5py
import numpy as np
import tyro

from benchmarks.figures import Common, Figure, interleaved, show
from pipeline.packing.shards import Job, plan_shards, write_shard
from pipeline.packing.sources.opening import open_features
from pipeline.packing.storing import stored_features
from pipeline.packing.tables.table import read_table
from pipeline.packing.videos import Videos, join_features
from pipeline.runtime.parallel import default_workers, map_in_processes

_SIZE = 128


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    videos: int = 20_000
    workers: int = default_workers()
    """Processes of either side."""
    stacked_gb: float = 4.0
    """Gigabytes of the stacked HDF5 whose peak of memory is measured; 0 leaves it out."""


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "npy").mkdir()
        size = _make(folder, flags.videos)
        numbers = itertools.count()
        sources = {"npy": (f"{folder}/npy/*.npy", _load_npy), "HDF5": (f"{folder}/all.h5", _load_hdf5)}
        for kind, (pattern, load) in sources.items():
            files = sorted((folder / "npy").iterdir()) if kind == "npy" else [folder / "all.h5"]
            sides = {
                "pack": lambda pattern=pattern: _pack(pattern, folder / f"out{next(numbers)}", flags.workers),
                "reading": lambda files=files, load=load: _read(files, load, flags.workers),
            }
            seconds = interleaved(flags.rounds, sides)
            what = f"{flags.videos:,} videos, {size / 1e9:.2f} GB, {kind}"
            figures += [Figure(what, who, size / taken / 1e6, "MB/s") for who, taken in seconds.items()]
            figures.append(Figure(f"of reading, {kind}", "pack", seconds["reading"] / seconds["pack"], "share"))
    if flags.stacked_gb:
        with tempfile.TemporaryDirectory() as name:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                peak = pool.apply(_stacked, (Path(name), flags.stacked_gb))
            what = f"peak memory, stacked HDF5 of {flags.stacked_gb:g} GB"
            figures.append(Figure(what, "pack", peak / 1e6, "MB"))
    show(figures, flags.json, f"pack, {flags.workers} processes")


def _make(folder: Path, videos: int) -> int:
    random = np.random.default_rng(0)
    size = 0
    with h5py.File(folder / "all.h5", "w") as file:
        for number in range(videos):
            frames = random.standard_normal((int(random.integers(30, 91)), _SIZE), np.float32)
            np.save(folder / "npy" / f"video{number:06}.npy", frames)
            file[f"video{number:06}"] = frames
            size += frames.nbytes
    return size


def _pack(pattern: str, folder: Path, workers: int) -> None:
    videos, _ = join_features([open_features("rgb", pattern, None, None, workers)], None)
    _write(videos, folder, workers)


def _write(videos: Videos, folder: Path, workers: int) -> None:
    features = stored_features(videos, "float16", [])
    job = Job(videos, features, [None] * len(videos.ids), None)
    shards = plan_shards(["train"] * len(videos.ids), videos.lengths, 2 * videos.sources[0].size, {})
    reports = list(map_in_processes(write_shard, shards, workers, shared=(job, folder, folder / "raw")))
    assert sum(report.videos for report in reports) == len(videos.ids)


def _read(files: list[Path], load, workers: int) -> None:
    parts = [(files, number, workers) for number in range(workers)]
    assert sum(map_in_processes(functools.partial(_sum, load), parts, workers)) > 0


def _sum(load, part: tuple[list[Path], int, int]) -> int:
    return load(*part)


def _load_npy(files: list[Path], number: int, parts: int) -> int:
    return sum(len(np.load(file)) for file in files[number::parts])


def _load_hdf5(files: list[Path], number: int, parts: int) -> int:
    with h5py.File(files[0]) as file:
        return sum(len(file[name][()]) for name in list(file)[number::parts])


def _stacked(folder: Path, gigabytes: float) -> int:
    """Pack one large array in one process; return the process's peak of memory in bytes."""
    frames, length = int(gigabytes * 1e9 / 4 / 1024), 100
    videos = frames // length
    with h5py.File(folder / "all.h5", "w") as file:
        array = file.create_dataset("rgb", (videos * length, 1024), np.float32, chunks=(64, 1024))
        for start in range(0, videos * length, 1000):
            array[start : start + 1000] = start % 997
    rows = folder / "rows.csv"
    rows.write_text("id\n" + "".join(f"v{number}\n" for number in range(videos)))
    found, _ = join_features([open_features("rgb", f"{folder}/all.h5", read_table(rows), None, 1)], None)
    _write(found, folder / "out", 1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
