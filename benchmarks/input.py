"""Input: shards to shuffled uint8 batches, beside two forms of tf.data, and the limits that the machine sets.

    python -m benchmarks.input [--batches 32 128] [--cold]

Frame-level shards of YouTube-8M's format (`synthesize`: 120 to 300 frames of rgb and audio), in the page cache, become
`uint8 [B,256,1152]`, each video's frames at floor(k n / 256), and labels `float32 [B,3862]`. Peers: tf.data as the
challenge's starter code has it (float32, padded to 300), and the form of tf.data that was the fastest of five to give
what ours gives, which is checked. Ours draws videos from all shards alike; the peers get by with the files in random
order and eight open at a time. Limits: reading the files' bytes, and copying a batch's bytes, with as many threads as
there are processors. Each side runs in a process of its own; what it has ready when its turn comes counts.

`--cold` has the system forget the files before each round: our order, a random one, beside reading file after file.
"ours" reads past the system's cache there, as it does by itself where the videos are more than half of the memory;
"ours, into the cache" reads as where they are less.

"float16" is ours with videos as long, of one feature of 512 float16 values; what it reads is told in bytes beside
uint8's, since a row has 1024 of them in place of 1152.
"""

import contextlib
import dataclasses
import functools
import itertools
import os
import tempfile
from pathlib import Path

import numpy as np
import tyro

from benchmarks.figures import Common, Figure, interleaved, show
from benchmarks.input_sides import FRAMES, HALVES, SHARD, YOUTUBE8M, Copying, Ours, Reading, Side, Starter, TensorFlow
from pipeline.config import SynthesisConfig
from pipeline.inputs.index import Source
from pipeline.inputs.index.build import write_index
from pipeline.inputs.index.check import check_shard
from pipeline.runtime.parallel import default_workers, map_in_processes

OURS, STARTER, PEER, READING, COPYING = "ours", "starter's tf.data", "best tf.data", "reading", "copying"
CACHED, OF_HALVES = "ours, into the cache", "float16"


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    videos: int = 2048
    """Videos in all, 0.25 MB each; a multiple of 256 and of each batch size."""
    batches: tuple[int, ...] = (32, 128)
    """Videos in a batch."""
    cold: bool = False
    """Measure reading from the disk too."""


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shards(folder, flags.videos)
        write_halves(folder / "halves", flags.videos)
        _check(folder, flags.batches[0])
        figures = _compiling(folder)
        for batch in flags.batches:
            figures += _warm(folder, batch, flags)
            if flags.cold:
                figures += _cold(folder, batch, flags)
    show(figures, flags.json, "input")


def write_shards(folder: Path, videos: int) -> None:
    """Shards, and their index in folder/index; all videos are of the split `train`."""
    from pipeline.inputs.records import synthetic

    synthesis = SynthesisConfig(videos, 0, SHARD, min_frames=120, max_frames=300)
    plan = synthetic.plan_shards(YOUTUBE8M, synthesis)
    write = functools.partial(synthetic.write_shard, YOUTUBE8M, synthesis, folder=folder)
    list(map_in_processes(write, plan, default_workers()))
    sources = [Source(folder / shard.path, "train") for shard in plan]
    (folder / "index").mkdir()
    write_index(folder / "index", YOUTUBE8M, sources, [check_shard(source.path, YOUTUBE8M) for source in sources])
    os.sync()  # only what is on the disk can be forgotten


def write_halves(folder: Path, videos: int) -> None:
    """The same as `write_shards`, of HALVES: normal values, two labels a video."""
    from pipeline.inputs.records import encoding, tfrecord

    random = np.random.default_rng(0)
    values = random.normal(size=(300, HALVES.width)).astype(np.float16)
    sources = []
    for number in range(videos // SHARD):
        sources.append(Source(folder / "train" / f"{number:04d}.tfrecord", "train"))
        sources[-1].path.parent.mkdir(parents=True, exist_ok=True)
        with sources[-1].path.open("wb") as file:
            for video in range(number * SHARD, (number + 1) * SHARD):
                context = {"id": f"v{video}", "labels": random.permutation(HALVES.num_classes)[:2]}
                rows = np.roll(values, video, axis=1)[: random.integers(120, 301)]
                tfrecord.write_records(file, [encoding.encode_sequence_example(context, {"clip": rows})])
    (folder / "index").mkdir()
    write_index(folder / "index", HALVES, sources, [check_shard(source.path, HALVES) for source in sources])
    os.sync()


def _check(folder: Path, batch: int) -> None:
    with Side(Ours, folder, batch) as ours, Side(TensorFlow, folder, batch) as peer:
        found = ours.ask("sums"), peer.ask("sums")
    if found[0] != found[1]:
        raise SystemExit(f"the two give different batches: {found}")


# ------------------------------------------------------------------------------------------------------------ measuring


def _warm(folder: Path, batch: int, flags: Flags) -> list[Figure]:
    kinds = {OURS: Ours, PEER: TensorFlow, STARTER: Starter, READING: Reading, COPYING: Copying}
    count = 2 * flags.videos
    with contextlib.ExitStack() as stack:
        sides = {who: stack.enter_context(Side(kind, folder, batch)) for who, kind in kinds.items()}
        sides[OF_HALVES] = stack.enter_context(Side(Ours, folder / "halves", batch))
        for side in sides.values():
            side.ask("take", 4 * batch)
        asked = {who: functools.partial(side.ask, "take", count) for who, side in sides.items()}
        seconds = interleaved(flags.rounds, asked)
        peaks = {who: sides[who].ask("peak") for who in (OURS, PEER, STARTER)}
        imports = sides[OURS].ask("imports")
    case = f"batches of {batch}"
    row = {OURS: YOUTUBE8M.width, OF_HALVES: 2 * HALVES.width}
    rates = {who: count * FRAMES * row[who] / seconds[who] / 1e9 for who in row}
    times = {who: seconds[who] / seconds[OURS] for who in (PEER, STARTER)}
    return [
        *(Figure(case, who, count / taken, "videos/s") for who, taken in seconds.items()),
        *(Figure(f"{case}: ours to theirs", who, ratio, "times") for who, ratio in times.items()),
        *(Figure(f"{case}: of a batch", who, rate, "GB/s") for who, rate in rates.items()),
        Figure(f"{case}: of the bytes of uint8", OF_HALVES, rates[OF_HALVES] / rates[OURS], "share"),
        Figure(f"{case}: of the reading", OURS, seconds[READING] / seconds[OURS], "share"),
        *(Figure(f"{case}: peak memory", who, peak, "MiB") for who, peak in peaks.items()),
        Figure(f"{case}: of that, imports", OURS, imports, "MiB"),
    ]


def _cold(folder: Path, batch: int, flags: Flags) -> list[Figure]:
    with contextlib.ExitStack() as stack:
        ours, cached = (stack.enter_context(Side(Ours, folder, batch, direct)) for direct in (True, False))
        reading = stack.enter_context(Side(Reading, folder, batch))
        for side in (ours, cached):
            side.ask("epoch", 0)
        rounds = itertools.count(1)
        turns = {
            "forgetting": lambda: reading.ask("forget"),
            READING: lambda: reading.ask("take", flags.videos),
            "forgetting again": lambda: reading.ask("forget"),
            OURS: lambda: ours.ask("epoch", next(rounds)),
            "and again": lambda: reading.ask("forget"),
            CACHED: lambda: cached.ask("epoch", next(rounds)),
        }
        seconds = interleaved(flags.rounds, turns)
    case = f"batches of {batch}, from the disk"
    return [
        *(Figure(case, who, flags.videos / seconds[who], "videos/s") for who in (OURS, CACHED, READING)),
        *(Figure(f"{case}: of the reading", who, seconds[READING] / seconds[who], "share") for who in (OURS, CACHED)),
    ]


def _compiling(folder: Path) -> list[Figure]:
    """The first read of all, and the first of a process, in seconds; numba's own import is not in them."""
    found = []
    for case in ("first read of all, compiled", "first read of a process"):
        with Side(Ours, folder, 32, NUMBA_CACHE_DIR=str(folder / "numba")) as ours:
            found.append(Figure(case, OURS, ours.ask("first"), "s"))
    return found


if __name__ == "__main__":
    main()
