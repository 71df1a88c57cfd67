"""Make a synthetic dataset shaped like YouTube-8M, in its exact wire format.

Reads nothing; writes data/<dataset>/raw/<split>/*.tfrecord. Scores on it are labelled synthetic wherever they appear.
"""

import functools
from dataclasses import dataclass

from tqdm import tqdm

from pipeline.artifacts.done import Done, digest
from pipeline.artifacts.files import read_json, remove_folder, remove_leftovers, write_json
from pipeline.artifacts.locks import locked
from pipeline.cli.flags import Anew, Common, Parallel
from pipeline.cli.parsing import parse
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.config import DatasetConfig, SynthesisConfig, differences, to_dict
from pipeline.config.errors import StageError
from pipeline.inputs.records import synthetic
from pipeline.runtime.parallel import map_in_processes


@dataclass(frozen=True)
class Flags(Anew, Parallel, Common):
    pass


def main() -> None:
    flags, experiment = parse(Flags, STAGES["synthesize"].sections)
    dataset, synthesis = experiment.dataset, experiment.synthesis
    if synthesis is None:
        raise StageError(f"preset {flags.preset_name} is for real data: there is nothing to synthesize")
    with locked(flags.places.raw(dataset.name).parent):
        _synthesize(flags, dataset, synthesis)


def _synthesize(flags: Flags, dataset: DatasetConfig, synthesis: SynthesisConfig) -> None:
    folder = flags.places.raw(dataset.name)
    config = {"dataset": to_dict(dataset), "synthesis": to_dict(synthesis)}
    # The settings are written before the first shard, so that shards of two settings never mix.
    settings = folder / "synthesis.json"
    if settings.exists() and (changed := differences(read_json(settings), config)):
        if not flags.force:
            raise StageError(f"{folder} was made with other settings ({'; '.join(changed)}); --force makes it anew")
        remove_folder(folder)
    elif not settings.exists() and folder.exists() and any(folder.iterdir()):
        raise StageError(f"{folder} holds files that synthesize did not make; choose another --data-dir")
    if Done.read(folder):
        print(f"{folder}: up to date")
        return
    write_json(settings, config)
    shards = synthetic.plan(dataset, synthesis)
    missing = [shard for shard in shards if not (folder / shard.path).exists()]
    videos = sum(shard.count for shard in shards)
    done = videos - sum(shard.count for shard in missing)
    write = functools.partial(synthetic.write_shard, dataset, synthesis, folder=folder)
    with tqdm(total=videos, initial=done, desc="synthesize", unit=" videos") as bar:
        for count in map_in_processes(write, missing, flags.workers):
            bar.update(count)
    for split in {shard.split for shard in shards}:
        remove_leftovers(folder / split)
    Done(config, {}, digest(config)).write(folder)
    print(f"{folder}: {videos} synthetic videos in {len(shards)} shards")


if __name__ == "__main__":
    run_stage(main)
