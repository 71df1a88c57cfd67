"""Write a found dataset: shards, names of classes, preset and record, in an order that any kill leaves resumable."""

import csv
import difflib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.artifacts.done import digest_json
from pipeline.artifacts.files import atomic_file, remove_folder, remove_leftovers, sync
from pipeline.artifacts.locks import locked
from pipeline.artifacts.parts import PATIENCE, Part, note_part, require_parts
from pipeline.config.errors import StageError
from pipeline.config.wording import counted, first_lines
from pipeline.packing.dataset import FoundDataset, bad_videos
from pipeline.packing.labels.splits import HOLDOUT
from pipeline.packing.preset import Counts, preset_text
from pipeline.packing.record import FOLDER, PackRecord, unrecorded
from pipeline.packing.shards import Job, Shard, ShardReport, plan_shards, write_shard
from pipeline.runtime.engine import Engine, Processes
from pipeline.runtime.progress import progress_bar

VOCABULARY = "vocabulary.csv"
_WORK = "pack.work"
"""Holds shards until all are written: then they are moved to raw/, and the record names them."""
_LARGE, _MANY = 32 << 20, 5000
"""With fewer bytes and videos, processes take longer to start than to work."""


def write_dataset(
    found: FoundDataset, folder: Path, engine: Engine, record: PackRecord | None, join: int | None = None
) -> Path:
    """Write shards, vocabulary, preset and record below a dataset's folder; return the path of the preset.

    A killed run goes on with the shards that it has written. Nothing is in raw/ before all shards are whole.

    Args:
        found: what is packed, in addition to `found.before` or, without that, in place of all that is there.
        folder: of the dataset.
        engine: writes shards.
        record: of what is there.
        join: number of parts that have written the shards, with `write_part`; None: they are written now.

    Raises StageError: a video cannot be packed, raw/ holds files that pack did not make, or a part is missing.
    """
    raw, work = folder / "raw", folder / _WORK / found.digest()
    if join and found.about.ids:
        require_parts(work, join, found.digest())
    _clear(raw, work, record)
    shards = _plan(found)
    reports = _write_shards(found, shards, work, raw, engine)
    left_out = [each for report in reports for each in report.left_out]
    if left_out and not found.settings.drop_bad:
        raise bad_videos([(where, reason) for _, where, reason in left_out])
    if found.about.ids and len(left_out) == len(found.about.ids) and not found.before:
        raise bad_videos([(where, reason) for _, where, reason in left_out])
    new = _record(found, shards, reports, {id for id, _, _ in left_out})
    new.preset = record.preset if record else ""
    if record and not found.before and found.about.ids:
        remove_folder(folder / FOLDER)  # or it would name shards that are replaced now
    for shard, report in zip(shards, reports):
        if report.videos:
            _place(work / shard.path, raw / shard.path)
    for file in unrecorded(raw, new):  # of an earlier pack that is replaced
        file.unlink()
    if found.named and found.about.ids:
        _write_vocabulary(folder / VOCABULARY, found.class_names)
    new.preset = _write_preset(folder / f"{found.settings.name}.py", found, new)
    if found.about.ids:
        new.write(folder)
    if (folder / _WORK).exists():
        remove_folder(folder / _WORK)
    _tell(folder, found, reports, left_out)
    return folder / f"{found.settings.name}.py"


def write_part(found: FoundDataset, folder: Path, engine: Engine, record: PackRecord | None, part: Part) -> None:
    """Write a part of the shards, which `write_dataset` moves to raw/; arguments and what it raises are as there."""
    raw, work = folder / "raw", folder / _WORK / found.digest()
    with locked(work.parent, patience=PATIENCE):  # the first part makes it
        _clear(raw, work, record)
    own = part.chosen(_plan(found))
    with locked(work / str(part)):
        reports = _write_shards(found, own, work, raw, engine)
        note_part(work, part, found.digest())
    print(f"{folder}: {part}, {counted(sum(report.videos for report in reports), 'video')}")


def _plan(found: FoundDataset) -> list[Shard]:
    numbers = found.before.next_numbers() if found.before else {}
    return plan_shards(found.about.splits, found.about.lengths, found.frame_bytes, numbers)


def _write_shards(
    found: FoundDataset, shards: Sequence[Shard], work: Path, raw: Path, engine: Engine
) -> list[ShardReport]:
    """Write shards below `work`, unless they are there or in `raw`; return what each of them holds."""
    if not shards:
        return []
    job = Job(found.videos, found.features, found.about.labels, found.about.groups)
    large = found.about.lengths.sum() * found.frame_bytes > _LARGE or len(found.about.ids) > _MANY
    chosen = engine if large or engine.far else Processes(1)
    reports = []
    with progress_bar(total=sum(shard.videos for shard in shards), desc="pack", unit=" videos") as bar:
        for shard, report in zip(shards, chosen.map(write_shard, shards, shared=(job, work, raw))):
            reports.append(report)
            bar.update(shard.videos)
    return reports


def _clear(raw: Path, work: Path, before: PackRecord | None) -> None:
    """Remove what a killed pack of other files or settings left; refuse files that no pack made."""
    remove_leftovers(raw.parent)
    foreign = unrecorded(raw, before)
    if foreign and not work.parent.exists():
        raise StageError(
            f"{foreign[0]} is there, and no record says that pack made it: choose another --name or --data-dir, or "
            f"move {raw} away"
        )
    if work.parent.exists() and not work.exists():
        for file in foreign:
            file.unlink()
        remove_folder(work.parent)
    work.mkdir(parents=True, exist_ok=True)


def _place(made: Path, place: Path) -> None:
    """Move a shard to raw/, unless a killed run has done so."""
    if made.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(place.parent, place.name)
        made.replace(place)
        sync(place.parent)


def _record(found: FoundDataset, shards: list[Shard], reports: list[ShardReport], left_out: set[str]) -> PackRecord:
    about = found.about
    if left_out:
        about = about.take(np.flatnonzero([id not in left_out for id in about.ids]))
    sizes = {shard.path: report.size for shard, report in zip(shards, reports) if report.videos}
    before = found.before
    return PackRecord(
        settings=found.settings_that_must_stay(),
        features=found.features,
        class_names=found.class_names,
        shards=before.shards | sizes if before else sizes,
        preset="",
        videos=before.videos + about if before else about,
    )


def _write_preset(path: Path, found: FoundDataset, record: PackRecord) -> str:
    """Write the preset unless its owner has changed it; return the digest of what pack wrote last."""
    videos = record.videos
    trained = [split == "train" and labels is not None for split, labels in zip(videos.splits, videos.labels)]
    classes, longest = len(record.class_names), int(videos.lengths.max())
    counts = Counts(
        classes,
        sum(trained),
        longest,
        grouped=videos.groups is not None,
        named=found.named,
        held_out=HOLDOUT in videos.splits,
        task=found.task,
    )
    text = preset_text(found.settings.name, str(path), found.features, counts)
    there = path.read_text(encoding="utf-8") if path.exists() else ""
    if there and digest_json(there) not in (record.preset, digest_json(text)):
        if digest_json(text) != record.preset:
            wanted = "".join(f"\n  {line}" for line in _changed(there, text))
            print(f"{path}: you have changed it, so it stays as it is; pack would now write:{wanted}")
        return record.preset
    if there != text:
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return digest_json(text)


def _changed(before: str, after: str) -> Iterator[str]:
    """Yield the lines that are not in the text before."""
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return (line[2:].strip() for line in lines if line.startswith("+ "))


def _write_vocabulary(path: Path, class_names: list[str]) -> None:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(("index", "name"))
    lines.writerows(enumerate(class_names))
    with atomic_file(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def _tell(folder: Path, found: FoundDataset, reports: list[ShardReport], left_out: list[tuple[str, str, str]]) -> None:
    if not found.about.ids:
        print(f"{folder}: up to date")
        return
    videos, size = sum(report.videos for report in reports), sum(report.size for report in reports)
    print(f"{folder}: {counted(videos, 'video')} in {counted(len(reports), 'shard')}, {size / 1e6:,.1f} MB")
    for told in first_lines([f"left out {id!r} ({where}): {reason}" for id, where, reason in left_out], 5):
        print(f"{folder}: {told}")
