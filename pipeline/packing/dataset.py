"""From files to a dataset: find videos, labels and splits, check that all fits, then write shards and their preset."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.artifacts.done import digest_json
from pipeline.config import FeatureConfig, differences, to_dict
from pipeline.config.errors import StageError
from pipeline.config.wording import counted, first_lines, listed
from pipeline.inputs.index.ids import id_fault
from pipeline.inputs.index.sources import size_and_mtime
from pipeline.packing.labels.annotations import annotate
from pipeline.packing.preset import described
from pipeline.packing.record import PackedVideos, PackRecord
from pipeline.packing.settings import PackSettings
from pipeline.packing.sources.opening import files_of_rows, open_features
from pipeline.packing.sources.source import FeatureSource
from pipeline.packing.storing import Quantization, measure_ranges, stored_features
from pipeline.packing.summary import summary_lines
from pipeline.packing.tables.table import Table, read_tables
from pipeline.packing.task import Task, task_of
from pipeline.packing.videos import Videos, join_features

_DEPENDS = ("align", "dtype", "quantize", "quantize_range")
"""Settings that must be the same for all packs of a dataset."""


@dataclass
class FoundDataset:
    """Everything that is to be packed, checked as far as headers and tables tell."""

    settings: PackSettings
    videos: Videos
    """Those that are not packed yet, ordered by split."""
    about: PackedVideos
    """Their splits and labels."""
    features: list[FeatureConfig]
    class_names: list[str]
    named: bool
    """Whether the classes have names of their own."""
    task: Task
    quantizations: list[Quantization | None]
    """Of each feature, if they were measured now; None for one of bytes."""
    remarks: list[tuple[str, str]]
    before: PackRecord | None
    """What was packed before, to which this is added."""

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame as it is stored, all features together."""
        return sum(feature.size * np.dtype(feature.dtype).itemsize for feature in self.features)

    def settings_that_must_stay(self) -> dict[str, Any]:
        """Return the settings that all packs of the dataset must share."""
        return _settings_that_must_stay(self.settings)

    def summary(self) -> Iterator[str]:
        """Yield what is found, in lines of 80 columns."""
        yield f"{self.settings.name}"
        yield from summary_lines(
            self.videos, self.about, self.class_names, self.task, self.features, self.quantizations, self.remarks
        )

    def digest(self) -> str:
        """Return a digest of all that the shards depend on: settings, files, splits, labels, and what is there."""
        files = sorted({file for source in self.videos.sources for file in source.files()})
        content = hashlib.sha256()
        for id, split, labels in zip(self.about.ids, self.about.splits, self.about.labels):
            content.update(f"{id}\0{split}\0".encode(errors="surrogatepass"))
            content.update(b"?" if labels is None else labels.astype("<i4").tobytes())
        return digest_json(
            [to_dict(feature) for feature in self.features],
            [[str(file), *size_and_mtime(file)] for file in files],
            self.settings_that_must_stay(),
            content.hexdigest(),
            self.about.groups,
            list(self.before.shards) if self.before else [],
        )


def find_dataset(settings: PackSettings, before: PackRecord | None, workers: int) -> FoundDataset:
    """Find what is to be packed; read headers and tables, and values only to measure ranges.

    Args:
        settings: which files, and how.
        before: what was packed before.
        workers: processes that read headers.

    Raises:
        StageError: a file, a video or a table cannot be packed as it is; the message says which, why, and what to do.
    """
    if not settings.patterns():
        raise StageError("--features is missing: name the files of each feature, such as --features rgb='rgb/*.npy'")
    check_settings(settings, before)
    rows = read_tables(files_of_rows(settings.rows)) if settings.rows else None
    sources = [open_features(*item, rows, settings.id, workers) for item in settings.patterns().items()]
    return dataset_of(sources, settings, before, rows)


def dataset_of(
    sources: Sequence[FeatureSource],
    settings: PackSettings,
    before: PackRecord | None,
    rows: Table | None = None,
    made_by: Sequence[str] = (),
) -> FoundDataset:
    """Return the dataset of features that have been found.

    Args:
        sources: of each feature.
        settings: labels, splits, and how the features are stored.
        before: what was packed before.
        rows: the table of --rows.
        made_by: the recipe of each feature, if extract made them.

    Raises as `find_dataset` does.
    """
    remarks: list[tuple[str, str]] = []
    faults = [fault for source in sources for fault in source.faults]
    if faults and not settings.drop_bad:
        raise bad_videos(faults)
    videos, lacking = join_features(sources, settings.align)
    if lacking and not settings.drop_bad:
        raise StageError(
            f"{'; '.join(lacking)}; add the files that are missing, or leave such videos out with --drop-bad"
        )
    for id in videos.ids:
        if fault := id_fault(id):
            raise StageError(f"{videos.where(videos.ids.index(id))}: {id!r} cannot be a video's id: {fault}; rename it")
    remarks += [("left out", f"{counted(len(faults), 'video or file', 'videos or files')} that cannot be read")] * bool(
        faults
    )
    remarks += [("left out", sentence) for sentence in lacking]
    known = before.class_names if before else None
    annotations = annotate(settings, videos.ids, rows, known)
    remarks += annotations.remarks
    about = PackedVideos(videos.ids, annotations.splits, videos.lengths, annotations.labels, annotations.groups)
    if before:
        videos, about = _only_new(videos, about, before, remarks)
    whole = before.videos + about if before else about
    task = task_of(whole.ids, whole.labels, len(annotations.class_names), settings.task)
    order = _by_split(about.splits)
    videos, about = videos.take(order), about.take(order)
    rng = np.random.default_rng(0)
    quantizations: list[Quantization | None] = []
    if settings.quantize and before:
        features = [replace(old, name=new.name, size=new.size) for new, old in zip(sources, before.features)]
    else:
        quantizations = measure_ranges(videos, rng, settings.quantize_range) if settings.quantize else []
        features = stored_features(videos, settings.dtype, quantizations)
    features = [replace(feature, made_by=own) for feature, own in zip(features, made_by or [""] * len(features))]
    if before and (features != before.features or len(sources) != len(features)):
        raise StageError(
            f"the features differ from those that are packed: {described(before.features)} are, and these are "
            f"{described(features)}; give the same features in the same order, or choose another --name"
        )
    return FoundDataset(
        settings,
        videos,
        about,
        features,
        annotations.class_names,
        annotations.named,
        task,
        quantizations,
        remarks,
        before,
    )


def check_settings(settings: PackSettings, before: PackRecord | None) -> None:
    """Raise StageError if there are no labels, or settings differ from those of an earlier pack."""
    if not (settings.labels or settings.rows):
        raise StageError("--labels is missing: name the table of labels, such as --labels labels.csv")
    if before and (changed := differences(before.settings, _settings_that_must_stay(settings))):
        raise StageError(
            f"{settings.name} was packed with other settings: {'; '.join(changed)}. Use those, choose another "
            "--name, or pack all files anew with --force"
        )


def _settings_that_must_stay(settings: PackSettings) -> dict[str, Any]:
    found = {name: getattr(settings, name) for name in _DEPENDS}
    bounds = found.pop("quantize_range")
    return found | ({"quantize_range": list(bounds)} if bounds else {})  # what was packed before there was one lacks it


def bad_videos(faults: Sequence[tuple[str, str]]) -> StageError:
    """Return the error that names the first of the videos that cannot be packed, by where they lie and why."""
    shown = "\n".join(first_lines([f"  * {where}: {reason}" for where, reason in faults], 5, "  and {} more"))
    return StageError(
        f"{counted(len(faults), 'video or file', 'videos or files')} cannot be packed:\n{shown}\nNothing was "
        "packed: mend or remove them, name other files with --features, or leave them out with --drop-bad"
    )


def _only_new(
    videos: Videos, about: PackedVideos, before: PackRecord, remarks: list[tuple[str, str]]
) -> tuple[Videos, PackedVideos]:
    """Return the videos that are not packed yet; raise StageError if those that are have changed."""
    packed = {id: row for row, id in enumerate(before.videos.ids)}
    places = np.array([packed.get(id, -1) for id in about.ids], np.int64)
    old, new = np.flatnonzero(places >= 0), np.flatnonzero(places < 0)
    changed = before.videos.differences(places[old], about, old)
    if changed:
        told = "; ".join(f"{what} of {counted(len(ids), 'video')} ({listed(ids)})" for what, ids in changed.items())
        raise StageError(f"videos that are packed already have changed: {told}. --force packs all files anew")
    if len(old):
        remarks.append(("packed", f"{counted(len(old), 'video')} already, which are not read again"))
    return videos.take(new), about.take(new)


def _by_split(splits: Sequence[str]) -> np.ndarray:
    """Return the rows ordered by split, train first and the others as they come; stable within each."""
    order = {
        split: number for number, split in enumerate(dict.fromkeys(sorted(splits, key=lambda each: each != "train")))
    }
    return np.argsort([order[split] for split in splits], kind="stable")
