"""Check every record, and index the videos: where each lies, its labels, its split.

Reads data/<dataset>/raw/<split>/*.tfrecord, or the files of --raw where they are; writes data/<dataset>/index/.
"""

import functools
import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tqdm import tqdm

from pipeline.artifacts import Done, StageError, atomic_folder, digest, read_json
from pipeline.commandline import Common, parse, run_stage
from pipeline.config import DatasetConfig, to_dict
from pipeline.inputs.checking import check_shard
from pipeline.inputs.index import HOLDOUT, TRAIN, Source, write_index
from pipeline.inputs.schema import SchemaError, preflight
from pipeline.inputs.tfrecord import scan
from pipeline.workers import default_workers, map_in_processes


@dataclass(frozen=True)
class Flags(Common):
    raw: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """SPLIT=DIR_OR_GLOB, repeatable: index these files where they are, as that split. Without it: the files that the
    last ingest was given, or data/<dataset>/raw/<split>/*.tfrecord."""
    workers: int = default_workers()
    """Processes."""
    max_quarantined: int = 0
    """Bad records that are tolerated; more, and the stage fails."""
    force: bool = False
    """Index again although nothing changed."""


def main() -> None:
    flags, experiment = parse(Flags, ["dataset"])
    dataset = experiment.dataset
    folder = flags.places.index(dataset.name)
    before = Done.read(folder)
    root = flags.places.raw(dataset.name)
    own = below(root)
    raw = list(flags.raw) or (before.config["raw"] if before and not own else [])
    sources = given(raw) if raw else own
    if not sources:
        raise StageError(
            f"there are no files to index: {root} has no <split>/*.tfrecord. Name them with --raw SPLIT=DIR_OR_GLOB"
        )
    config = {"raw": raw, "dataset": to_dict(dataset), "max_quarantined": flags.max_quarantined}
    inputs = {"files": digest([[source.split, str(source.path), *_stamp(source.path)] for source in sources])}
    if before and not flags.force:
        if not (changes := before.changes(config, inputs)):
            print(f"{folder}: up to date")
            return
        print(f"{folder} is made again: {'; '.join(changes)}")
    for split in dict.fromkeys(source.split for source in sources):
        _check_schema([source for source in sources if source.split == split], dataset)
    with atomic_folder(folder) as temporary:
        reports = map_in_processes(
            functools.partial(check_shard, dataset=dataset), [source.path for source in sources], flags.workers
        )
        with tqdm(
            total=sum(_stamp(source.path)[0] for source in sources), desc="ingest", unit="B", unit_scale=True
        ) as bar:
            summary = write_index(temporary, dataset, sources, _counted(reports, bar), None if raw else root)
        _check_budget(summary, flags.max_quarantined)
        _check_training(summary, dataset)
        Done(config, inputs, read_json(temporary / "dataset.json")["digest"]).write(temporary)
    _tell(folder, summary)


def given(raw: list[str]) -> list[Source]:
    """The files named by SPLIT=DIR_OR_GLOB, in the order of their names' bytes."""
    sources = []
    for item in raw:
        split, separator, place = item.partition("=")
        if not (separator and split and place) or not split.replace("_", "").isalnum():
            raise StageError(f"--raw {item}: write SPLIT=DIR_OR_GLOB, for example train=/data/train")
        if split == "holdout":
            raise StageError(f"--raw {item}: holdout is taken from the training splits; choose another name")
        path = Path(place)
        found = path.glob("*.tfrecord") if path.is_dir() else map(Path, glob.glob(place))  # noqa: PTH207 (absolute too)
        files = sorted((file.resolve() for file in found if file.is_file()), key=lambda file: str(file).encode())
        if not files:
            raise StageError(f"--raw {item}: no *.tfrecord files there")
        sources += [Source(file, split) for file in files]
    if twice := len(sources) - len({source.path for source in sources}):
        raise StageError(f"--raw names {twice} files twice")
    return sources


def below(root: Path) -> list[Source]:
    """The files of data/<dataset>/raw, each folder a split."""
    files = sorted(root.glob("*/*.tfrecord"), key=lambda file: str(file).encode())
    return [Source(file, file.parent.name) for file in files]


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _check_schema(sources: list[Source], dataset: DatasetConfig) -> None:
    """Compare the first readable record of a split with what is declared."""
    for source in sources:
        for record in scan(source.path):
            if record.fault is None:
                try:
                    preflight(record.payload, dataset, f"{source.path}, first record")
                except SchemaError as error:
                    raise StageError(str(error)) from error
                return


def _counted(reports, bar: tqdm):
    for report in reports:
        yield report
        bar.update(report.size)


def _check_budget(summary: dict[str, Any], budget: int) -> None:
    count, first = summary["quarantined"]["count"], summary["quarantined"]["first"][:20]
    if count > budget:
        listed = "\n".join(f"  {entry['file']}, offset {entry['offset']}: {entry['reason']}" for entry in first)
        more = f"\n  and {count - len(first)} more" if count > len(first) else ""
        raise StageError(
            f"{count} bad records, {budget} are tolerated (--max-quarantined):\n{listed}{more}\nnothing was indexed"
        )


def _check_training(summary: dict[str, Any], dataset: DatasetConfig) -> None:
    """Splits that are to be trained on need videos with labels."""
    names = ", ".join(dataset.train_splits)
    if TRAIN not in summary["counts"]:
        there = ", ".join(summary["counts"])
        print(f"nothing is trained on: dataset.train-splits names {names}; there are: {there}")
    elif not summary["counts"][TRAIN]:
        raise StageError(f"the training splits ({names}) hold no videos")
    elif not summary["labelled"][TRAIN]:
        raise StageError(
            f"no video of the training splits ({names}) has labels under the key {dataset.labels_key!r}; "
            "see --dataset.labels-key"
        )
    elif 0 < summary["counts"][HOLDOUT] < 50:
        print(f"the hold-out has only {summary['counts'][HOLDOUT]} videos; see --dataset.holdout-percent")


def _tell(folder: Path, summary: dict[str, Any]) -> None:
    counts = ", ".join(f"{split} {count}" for split, count in summary["counts"].items())
    print(f"{folder}: {counts} videos; {summary['quarantined']['count']} records quarantined")
    for what, remark in (
        ("duplicates", "records have an id that their split had already; the first one counts"),
        ("leakage", "videos are both trained on and in another split; scores there flatter"),
    ):
        if count := summary[what]["count"]:
            example = summary[what]["first"][0]["id"]
            print(f"{folder}: {count} {remark} (for example {example!r}; see dataset.json)")


if __name__ == "__main__":
    run_stage(main)
