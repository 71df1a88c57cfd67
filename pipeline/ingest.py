"""Check every record, and index the videos: where each is stored, its labels, its split.

Reads data/<dataset>/raw/<split>/*.tfrecord, or the files of --raw where they are; writes data/<dataset>/index/, with
a page of plots, card.svg. A killed ingest resumes after the last shard that it checked.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pipeline.artifacts.done import Done, StageOutput, digest_json, stage_output
from pipeline.artifacts.files import read_json, remove_folder, write_json
from pipeline.artifacts.locks import locked
from pipeline.artifacts.parts import Part, note_part, require_parts
from pipeline.cli.flags import CommonFlags, ForceFlags, IngestFlags, PartFlags, WorkerFlags
from pipeline.cli.parsing import parse_flags
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.config import DatasetConfig, to_dict
from pipeline.config.errors import StageError
from pipeline.config.wording import counted, first_lines
from pipeline.inputs.class_names import KEY, SUMMARY, find_vocabulary, read_class_names, stored_class_names
from pipeline.inputs.index import HEADS, TRAIN, HeadsError, Index, Source
from pipeline.inputs.index.build import write_index
from pipeline.inputs.index.check import ShardReport
from pipeline.inputs.index.outliers import OutlierDetector
from pipeline.inputs.index.remarks import dataset_remarks
from pipeline.inputs.index.resume import IndexedReports, check_shard_once, reports_in_order
from pipeline.inputs.index.sources import find_sources, parse_sources, size_and_mtime
from pipeline.inputs.records.schema import SchemaError, check_first_records
from pipeline.presets import load_experiment
from pipeline.runtime.engine import Processes
from pipeline.runtime.progress import progress_bar

_TOGETHER, _MOST_TOGETHER = 1 << 20, 32
"""A process is given small shards together: about so many bytes, and so many shards at most."""


@dataclass(frozen=True)
class Flags(ForceFlags, PartFlags, WorkerFlags, IngestFlags, CommonFlags):
    pass


def main() -> None:
    flags, experiment = parse_flags(Flags, STAGES["ingest"].sections)
    if 0 < flags.outlier_ratio < 1:
        raise StageError(f"--outlier-ratio must be 0, for none, or at least 1, not {flags.outlier_ratio}")
    dataset = experiment.dataset
    folder = flags.places.index(dataset.name)
    with stage_output(folder, lock=folder.parent, shared=bool(flags.part)) as work:
        _ingest(work, flags, dataset, *_sources(flags, dataset, work.begun))


def _sources(flags: Flags, dataset: DatasetConfig, before: Done | None) -> tuple[list[str], list[Source]]:
    """Return what --raw names, now or at the last ingest, and the files found; raise StageError if there are none."""
    root = flags.places.raw(dataset.name)
    own = find_sources(root)
    raw = list(flags.raw) or (before.config["raw"] if before and not own else [])
    if flags.append and before:
        raw = list(dict.fromkeys([*before.config["raw"], *raw]))
    sources = parse_sources(raw) if raw else own
    if not sources:
        raise StageError(
            f"there are no files to index: {root} has no <split>/*.tfrecord. Name them with --raw SPLIT=DIR_OR_GLOB, "
            f"or bring the challenges' here: python -m pipeline.download --preset {flags.preset}"
        )
    return raw, sources


def _ingest(work: StageOutput, flags: Flags, dataset: DatasetConfig, raw: list[str], sources: list[Source]) -> None:
    folder, before = work.place, work.begun
    checked_shards = folder.with_name("index.work")  # holds reports on checked shards until the index is whole
    declared = load_experiment(flags.preset).dataset
    names = _class_names(flags, folder, dataset.num_classes)
    config = {"raw": raw, "dataset": to_dict(dataset), "max_quarantined": flags.max_quarantined}
    if not dataset.quantized:
        config["outlier_ratio"] = flags.outlier_ratio
    inputs = {
        "files": digest_json([[source.split, str(source.path), *size_and_mtime(source.path)] for source in sources])
    }
    if (heads := _heads(work)) and flags.append:
        raise StageError(f"{folder} cannot be appended to: {heads}; run ingest without --append")
    if work.is_up_to_date(config, inputs, force=flags.force, quiet=flags.append, fault=heads):
        _update(folder, declared, names)
        if checked_shards.exists():  # the last ingest was killed at the very end
            remove_folder(checked_shards)
        return
    root = None if raw else flags.places.raw(dataset.name)
    indexed = IndexedReports(folder, dataset, root) if flags.append and before else None
    known = indexed.known(sources) if indexed else set()
    new = [source for source in sources if source.path not in known]
    met = {source.split for source in sources if source.path in known}
    try:
        for split in dict.fromkeys(source.split for source in new if source.split not in met):
            check_first_records([source.path for source in new if source.split == split], dataset)
    except SchemaError as error:
        raise StageError(str(error)) from error
    by_settings = checked_shards / digest_json(to_dict(dataset))
    by_settings.mkdir(parents=True, exist_ok=True)
    check = functools.partial(check_shard_once, dataset=dataset, folder=by_settings)
    peaks = OutlierDetector(dataset)
    if share := flags.share:
        _check_part(share, new, check, by_settings, inputs["files"], flags.workers)
        return
    if flags.join:
        require_parts(by_settings, flags.join, inputs["files"])
    engine = flags.ray_cluster() or Processes(flags.workers)
    with work.replace(config, inputs) as output:
        checked = engine.map(check, [source.path for source in new], _together(new))
        with _bar(new) as bar:
            reports = peaks.noted(reports_in_order(sources, indexed, known, _counted(checked, bar)))
            summary = write_index(output.folder, dataset, sources, reports, root, declared, None, names)
        if limits := peaks.limits(flags.outlier_ratio):  # known only now, when every shard is read
            reports = reports_in_order(sources, indexed, known, map(check, [source.path for source in new]))
            summary = write_index(output.folder, dataset, sources, reports, root, declared, limits, names)
        _check_budget(summary, flags.max_quarantined)
        _check_training(summary, dataset)
        from pipeline.reporting import card

        card.write_card(output.folder / card.NAME, summary)
        output.digest = summary["digest"]
    remove_folder(checked_shards)
    _tell(folder, summary)


def _check_part(
    part: Part,
    new: list[Source],
    check: Callable[[Path], ShardReport],
    folder: Path,
    key: str,
    workers: int,
) -> None:
    """Check a part of the shards and keep their reports in `folder`; raise StageError if one cannot be read."""
    own = part.chosen(new)
    with locked(folder / str(part)):
        checked = Processes(workers).map(check, [source.path for source in own], _together(own))
        with _bar(own) as bar:
            unread = [report for report in _counted(checked, bar) if not report.readable]
        if unread:
            raise StageError(f"{unread[0].path}: {unread[0].quarantined[0].reason}; {part} is not done")
        note_part(folder, part, key)
    print(f"{part}: {counted(len(own), 'shard')} checked")


def _together(sources: Sequence[Source]) -> int:
    """Return how many shards a process is given at once."""
    size = sum(size_and_mtime(source.path)[0] for source in sources)
    return min(max(_TOGETHER * len(sources) // max(size, 1), 1), _MOST_TOGETHER)


def _bar(sources: Sequence[Source]) -> tqdm:
    size = sum(size_and_mtime(source.path)[0] for source in sources)
    return progress_bar(total=size, desc="ingest", unit="B", unit_scale=True)


def _heads(work: StageOutput) -> str:
    """Return that the index there holds the heads of long videos, as earlier versions read them; empty if not."""
    try:
        if work.finished and "longest" not in read_json(work.place / SUMMARY).get("cut", {}):
            Index.open(work.place)
    except HeadsError:
        return f"it {HEADS}"
    except StageError:  # damaged: whoever opens it says so
        pass
    return ""


def _class_names(flags: Flags, folder: Path, num_classes: int) -> list[str] | None:
    """Return the names that the index is to hold; None if there are none. No result depends on them."""
    if flags.vocabulary:
        return read_class_names(flags.vocabulary, num_classes)
    if known := stored_class_names(folder, num_classes):
        return known
    downloaded = find_vocabulary(folder.parent)
    return read_class_names(downloaded, num_classes) if downloaded else None


def _update(folder: Path, declared: DatasetConfig, names: list[str] | None) -> None:
    """Note what is not part of the index itself: what the preset declares now, and the names of the classes."""
    summary = read_json(folder / SUMMARY)
    new = {"declared": to_dict(declared), KEY: names}
    if any(summary.get(key) != value for key, value in new.items()):
        write_json(folder / SUMMARY, summary | new)
    if names and summary.get(KEY) != names:
        print(f"{folder}: the classes are named {names[0]!r} and so on; models are not affected")


def _counted(reports: Iterator, bar: tqdm) -> Iterator:
    for report in reports:
        bar.update(report.size)  # before the last is asked for: no more are then
        yield report


def _check_budget(summary: dict[str, Any], budget: int) -> None:
    count, first = summary["quarantined"]["count"], summary["quarantined"]["first"]
    if count > budget:
        lines = [f"  {entry['file']}, offset {entry['offset']}: {entry['reason']}" for entry in first]
        told = "\n".join(first_lines(lines, 20, "  and {} more", count))
        raise StageError(
            f"{counted(count, 'bad record')}, {budget} tolerated (--max-quarantined):\n{told}\n"
            "nothing was indexed. "
            "Mend or remove these files, or raise --max-quarantined to leave the records out"
        )


def _check_training(summary: dict[str, Any], dataset: DatasetConfig) -> None:
    """Raise StageError if the splits to train on hold no videos, or no labels."""
    names = ", ".join(dataset.train_splits)
    unlabelled = summary["unlabelled"]["count"] and not summary["counts"].get(TRAIN, 1)
    if not summary["counts"].get(TRAIN, 1) and not unlabelled:
        empty = summary["empty"]
        files = ", ".join(entry["file"] for entry in empty["first"][:3])
        because = f": {counted(empty['count'], 'file')} empty or damaged, {files}" if empty["count"] else ""
        raise StageError(f"the training splits ({names}) hold no videos{because}; see --raw and --dataset.train-splits")
    if not summary["labelled"].get(TRAIN, 1):
        raise StageError(
            f"no video of the training splits ({names}) has labels under the key {dataset.labels_key!r}; "
            "see --dataset.labels-key"
        )
    if folds := summary.get("folds"):
        _check_folds(folds["groups"], summary["counts"].get(TRAIN, 0), dataset)


def _check_folds(groups: int, videos: int, dataset: DatasetConfig) -> None:
    """Raise StageError if a fold would be empty."""
    if 0 < groups < dataset.folds:
        what = counted(videos, "training video")
        if dataset.group_key:
            what += f" of {counted(groups, 'group')} (--dataset.group-key {dataset.group_key})"
        remedy = f"choose {groups} folds or fewer" if groups > 1 else "leave --dataset.folds out"
        raise StageError(f"--dataset.folds {dataset.folds}: there are only {what}; {remedy}")


def _tell(folder: Path, summary: dict[str, Any]) -> None:
    counts = ", ".join(f"{split} {count}" for split, count in summary["counts"].items())
    print(f"{folder}: {counts} videos; {counted(summary['quarantined']['count'], 'record')} quarantined")
    for remark in dataset_remarks(summary):
        print(f"{folder}: {remark}")


if __name__ == "__main__":
    run_stage(main)
