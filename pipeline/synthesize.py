"""Make a synthetic dataset shaped like YouTube-8M, in its exact wire format.

Reads nothing; writes data/<dataset>/raw/<split>/*.tfrecord. Scores on it are labeled synthetic wherever they appear.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts.done import Done, StageOutput, digest_json, stage_output
from pipeline.artifacts.files import read_json, remove_leftovers, write_json
from pipeline.artifacts.hidden import visible
from pipeline.cli.flags import CommonFlags, ForceFlags, WorkerFlags
from pipeline.cli.parsing import parse_flags
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.config import DatasetConfig, SynthesisConfig, to_dict
from pipeline.config.errors import StageError
from pipeline.config.wording import counted
from pipeline.inputs.records import synthetic
from pipeline.runtime.parallel import map_in_processes
from pipeline.runtime.progress import progress_bar

SETTINGS = "synthesis.json"
"""File with the settings. It is written before the first shard, so that shards of two settings never mix."""


@dataclass(frozen=True)
class Flags(ForceFlags, WorkerFlags, CommonFlags):
    pass


def main() -> None:
    flags, experiment = parse_flags(Flags, STAGES["synthesize"].sections)
    dataset, synthesis = experiment.dataset, experiment.synthesis
    if synthesis is None:
        raise StageError(
            f"preset {flags.preset_name} is for real data: there is nothing to synthesize; "
            "download its files, or index your own with ingest --raw"
        )
    folder = flags.places.raw(dataset.name)
    config = {"dataset": to_dict(dataset), "synthesis": to_dict(synthesis)}
    with stage_output(folder, _begun, lock=folder.parent) as work:
        if not work.begun and folder.exists() and any(visible(folder, "*")):
            raise StageError(f"{folder} holds files that synthesize did not make; choose another --data-dir")
        if not work.is_up_to_date(_of_records(config), {}, force=flags.force, keep="--force makes it anew"):
            _synthesize(work, flags, dataset, synthesis, config)


def _begun(folder: Path) -> Done | None:
    return Done(_of_records(read_json(folder / SETTINGS)), {}, "") if (folder / SETTINGS).exists() else None


def _of_records(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that records depend on: all but those that only say what is held out of training."""
    kept = {name: value for name, value in config["dataset"].items() if name not in ("holdout_percent", "folds")}
    return {**config, "dataset": kept}


def _synthesize(
    work: StageOutput, flags: Flags, dataset: DatasetConfig, synthesis: SynthesisConfig, config: dict[str, Any]
) -> None:
    work.remove_stale()
    folder = work.place
    write_json(folder / SETTINGS, config)
    shards = synthetic.plan_shards(dataset, synthesis)
    missing = [shard for shard in shards if not (folder / shard.path).exists()]
    videos = sum(shard.count for shard in shards)
    done = videos - sum(shard.count for shard in missing)
    write = functools.partial(synthetic.write_shard, dataset, synthesis, folder=folder)
    with progress_bar(total=videos, initial=done, desc="synthesize", unit=" videos") as bar:
        for count in map_in_processes(write, missing, flags.workers):
            bar.update(count)
    for split in {shard.split for shard in shards}:
        remove_leftovers(folder / split)
    Done(config, {}, digest_json(config)).write(folder)
    print(f"{folder}: {counted(videos, 'synthetic video')} in {counted(len(shards), 'shard')}")


if __name__ == "__main__":
    run_stage(main)
