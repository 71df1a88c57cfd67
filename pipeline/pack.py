"""Turn files of features and labels into a dataset: shards, a preset to train with, names of classes, an index.

Reads npy, npz, HDF5, Parquet and tar files of features, and labels from CSV, TSV, Parquet or JSON. Writes data/<name>/:
raw/<split>/*.tfrecord, <name>.py, vocabulary.csv, and index/ with a page of plots, card.svg. The same command with more
files adds their videos; a killed pack goes on.
"""

from dataclasses import dataclass

import tyro

from pipeline.artifacts.locks import locked
from pipeline.cli.flags import ForceFlags, PartFlags, PlacesFlags, WorkerFlags
from pipeline.cli.parsing import parse_own_flags
from pipeline.cli.running import call_stage, run_stage
from pipeline.config.wording import counted
from pipeline.packing.dataset import bad_videos, find_dataset
from pipeline.packing.looking import look_at_values
from pipeline.packing.record import PackRecord
from pipeline.packing.settings import PackSettings
from pipeline.packing.writing import write_dataset, write_part
from pipeline.runtime.engine import Processes


@dataclass(frozen=True, kw_only=True)
class Flags(ForceFlags, PartFlags, WorkerFlags, PlacesFlags, PackSettings):
    dry_run: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print what is found, look at the values of at most 2,000 videos, and write nothing."""


def main() -> None:
    flags = parse_own_flags(Flags)
    folder = flags.places.data_dir / flags.name
    if flags.dry_run:
        before = None if flags.force else PackRecord.read(folder)
        found = find_dataset(flags, before, flags.workers)
        print("\n".join(found.summary()))
        looked_at, faults = look_at_values(found.videos, found.features)
        if faults and not flags.drop_bad:
            raise bad_videos(faults)
        bad = f"{len(faults)} would be left out" if faults else "all can be packed"
        print(f"  values    of {looked_at:,} of {counted(len(found.videos.ids), 'video')} looked at: {bad}")
        return
    engine = flags.ray_cluster() or Processes(flags.workers)
    with locked(folder, shared=bool(flags.part)):
        record = PackRecord.read(folder)
        found = find_dataset(flags, None if flags.force else record, flags.workers)
        print("\n".join(found.summary()))
        if flags.share:
            write_part(found, folder, engine, record, flags.share)
            return
        preset = write_dataset(found, folder, engine, record, flags.join)
    place = ["--preset", str(preset), "--data-dir", str(flags.places.data_dir)]
    call_stage("ingest", [*place, "--workers", str(flags.workers), *flags.engine_tokens()])
    print(f"\nto train on it: ./run_all.sh --preset {preset}")


if __name__ == "__main__":
    run_stage(main)
