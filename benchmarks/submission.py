"""The challenge's file: written from stored predictions, beside a plain Python loop, and validated.

    python -m benchmarks.submission [--videos 1000000] [--kept 100] [--rounds 5]

Ours reads the Parquet parts that infer leaves behind and ends with the file on the disk. The peer does what the
challenge's own code does: a loop over the videos, in which it takes the best of each, sorts them and writes `%i %g`;
and once more without the taking and sorting. It is given arrays in memory, and a share of the rows, as each takes it
as long. What both write is compared byte for byte. Compiling is measured apart, in processes that have no cache of
machine code and that have one; so is the memory, in one that only writes and in one that only checks.
"""

import concurrent.futures
import dataclasses
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tyro

from benchmarks.figures import Common, Figure, interleaved, show
from pipeline.artifacts.predictions import Predictions, PredictionStore
from pipeline.inputs.records.synthetic import video_ids
from pipeline.submission import check_submission, write_submission
from pipeline.submission.lines import HEADER

CLASSES, PAIRS = 3862, 20
_COMPILE = """
import time
import numpy as np
began = time.perf_counter()
from pathlib import Path
from pipeline.submission import check, digits, tokens, write
imported = time.perf_counter()
path = Path("{path}")
write(path, [(["a"], [[1]], [[0.5]])])
assert check(path) == []
print(imported - began, time.perf_counter() - imported)
"""


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    videos: int = 1_000_000
    kept: int = 100
    """Labels that the store keeps for each video."""
    peer_videos: int = 100_000
    """Of them, those that the peer writes in a round."""


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _predict(folder / "store", flags.videos, flags.kept)
        for what in ("without a cache", "with a cache"):
            for step, taken in zip(("imports", "machine code"), _compile(folder)):
                figures.append(Figure(f"{step}, {what}", "ours", taken, "s"))
        figures = [*_compare(folder, flags), *figures]
        seconds, peak = _apart(_check, folder)
        figures.append(Figure("checked with its ids", "ours", seconds, "s"))
        figures.append(Figure("writing, peak memory", "ours", _apart(_write, folder)[1] / 1e6, "MB"))
        figures.append(Figure("checking, peak memory", "ours", peak / 1e6, "MB"))
    about = f"submission of {flags.videos:,} videos, {flags.kept} labels kept of {CLASSES}, {PAIRS} written"
    show(figures, flags.json, about)


def _predict(folder: Path, videos: int, kept: int) -> None:
    """A store of scores as a model makes them, most of them small, and of labels that are distinct in each row."""
    store, random = PredictionStore(folder), np.random.default_rng(0)
    ids = video_ids(0, "test", range(videos))
    for number, part in store.begin({}, {}, videos, 8192):
        first, step = random.integers(0, CLASSES, (2, len(part), 1))
        labels = (first + (2 * step % 1930 + 1) * np.arange(kept)) % CLASSES  # odd steps, coprime to 2 x 1931
        scores = 1 / (1 + np.exp(9 - 3 * random.standard_normal((len(part), kept), np.float32)))
        store.write(number, Predictions(ids[part.start : part.stop], labels, -np.sort(-scores, axis=1)))
    store.finish({}, {})


def _compile(folder: Path) -> tuple[float, float]:
    """Seconds of the imports, and of a file of one row written and checked."""
    command = [sys.executable, "-c", _COMPILE.format(path=folder / "one.csv")]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache")}
    result = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return tuple(map(float, result.stdout.split()))


# ------------------------------------------------------------------------------------------------------------- writing


def _compare(folder: Path, flags: Flags) -> list[Figure]:
    store, rows = PredictionStore(folder / "store"), 0
    parts = []
    for part in store.read():
        parts.append(part)
        rows += len(part.ids)
        if rows >= flags.peer_videos:
            break
    best = [Predictions(ids, labels[:, :PAIRS], scores[:, :PAIRS]) for ids, labels, scores in parts]
    write_submission(folder / "warm.csv", best, PAIRS)
    seconds = interleaved(
        flags.rounds,
        {
            "ours": lambda: _write(folder),
            "reference": lambda: _write_like_the_reference(folder / "reference.csv", parts, _best_first),
            "its loop alone": lambda: _write_like_the_reference(folder / "loop.csv", best, zip),
        },
    )
    plain = (folder / "reference.csv").read_bytes()
    if not plain == (folder / "loop.csv").read_bytes() == (folder / "warm.csv").read_bytes():
        raise SystemExit("the bytes differ")
    with (folder / "ours.csv").open("rb") as file:
        if file.read(len(plain)) != plain:
            raise SystemExit("the bytes differ")
    rates = {who: (flags.videos if who == "ours" else rows) / taken for who, taken in seconds.items()}
    figures = [Figure("written", who, rate, "rows/s") for who, rate in rates.items()]
    return figures + [
        Figure("ours to theirs", who, rates["ours"] / rates[who], "times") for who in rates if who != "ours"
    ]


def _write_like_the_reference(path: Path, parts: list[Predictions], pairs_of: Callable) -> None:
    with path.open("w") as file:
        file.write(f"{HEADER}\n")
        for ids, labels, scores in parts:
            for video, kept, confidences in zip(ids, labels, scores):
                pairs = " ".join("%i %g" % pair for pair in pairs_of(kept, confidences))  # noqa: UP031
                file.write(f"{video},{pairs}\n")


def _best_first(labels: np.ndarray, scores: np.ndarray) -> list[tuple]:
    """The best of what is kept: the reference sorts while it writes."""
    best = np.argpartition(scores, -PAIRS)[-PAIRS:]
    return sorted([(labels[place], scores[place]) for place in best], key=lambda pair: -pair[1])


def _write(folder: Path) -> None:
    write_submission(folder / "ours.csv", PredictionStore(folder / "store").read(), PAIRS)


# ------------------------------------------------------------------------------------------- in processes of their own


def _check(folder: Path) -> None:
    ids = [video for part in PredictionStore(folder / "store").read() for video in part.ids]
    if faults := check_submission(folder / "ours.csv", ids):
        raise SystemExit(f"not valid: {faults[0]}")


def _apart(function: Callable[[Path], None], folder: Path) -> tuple[float, int]:
    """Seconds in a process of its own, machine code loaded, and the most bytes that it had in memory."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, function, folder).result()


def _measure(function: Callable[[Path], None], folder: Path) -> tuple[float, int]:
    write_submission(folder / "one.csv", [(["a"], [[1]], [[0.5]])])
    check_submission(folder / "one.csv")
    began = time.perf_counter()
    function(folder)
    return time.perf_counter() - began, _peak()


def _peak() -> int:
    """Bytes of memory that this process had at most; getrusage would count its parent's too."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
