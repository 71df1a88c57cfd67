"""Find the videos that a model is to see in files of one's own, of any kind, and what of those cannot be used."""

import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.config.errors import StageError
from pipeline.inference.given.videos import APART, OwnGroup, OwnVideo, own_id, videos_of_records
from pipeline.inputs.index.sources import in_order, named_files
from pipeline.inputs.reading.own_records import UnreadableVideo
from pipeline.inputs.records.file_kinds import TFRECORDS, kind_of_file
from pipeline.inputs.records.tfrecord import count_records
from pipeline.packing.settings import FeatureSettings
from pipeline.packing.sources.files_source import FilesSource, Needed
from pipeline.packing.sources.opening import files_of_rows, look_at_files, look_into, open_features, videos_of
from pipeline.packing.sources.source import Found
from pipeline.packing.sources.stacked import FRAMES, Contents
from pipeline.packing.tables.table import Table, read_tables
from pipeline.packing.videos import ALIGN, match_features

_READ = "TFRecords, npy, npz, HDF5, Parquet or tar"
_FORMATS = ("npy", "npz", "hdf5", "parquet", "tar")


@dataclass
class OwnFiles:
    """All videos that were found, and what cannot be used."""

    dataset: DatasetConfig
    faults: list[UnreadableVideo] = field(default_factory=list)
    """What headers tell; reading may find more."""
    twice: list[Path] = field(default_factory=list)
    """Files that are named more than once; each is read once."""
    tables: list[Path] = field(default_factory=list)
    """The tables of --rows."""
    plan: list[tuple[int, Path | tuple[OwnGroup, int]]] = field(default_factory=list)
    """What is read, by the number of its file: a file of records, or the row of a group."""

    def total(self) -> int:
        """Return how many times `videos` yields."""
        return sum(count_records(what) if isinstance(what, Path) else 1 for _, what in self.plan)

    def videos(self) -> Iterator[OwnVideo | UnreadableVideo]:
        """Yield the videos in the order of the files as they were named; and records that cannot be read, as such."""
        for _, what in sorted(self.plan, key=lambda each: each[0]):
            if isinstance(what, Path):
                yield from videos_of_records(what, self.dataset)
            else:
                group, row = what
                yield group.video(row)

    def add(self, sources: Sequence[FilesSource], settings: FeatureSettings, order: dict[Path, int] | None) -> None:
        """Plan to read the videos that all of the sources have, and note what else there is.

        `order` has the numbers of the files, where ids have their file before them.
        """
        videos, alone, unequal = match_features(sources, settings.align)
        for source in sources:
            told = {each.where for each in self.faults}
            self.faults += [UnreadableVideo(*fault) for fault in source.faults if fault[0] not in told]
        left_out = {id for source in sources for id in source.left_out}
        for (one, other), ids in alone.items():
            own, lacking = sources[one], sources[other].name
            places = {id: place for place, id in enumerate(own.ids)}
            for id in ids:
                if id not in left_out:
                    left_out.add(id)
                    reason = f"{own_id(id, order is not None)!r} has {own.name} and no {lacking}"
                    reason += " that can be used: give that too, under the same id"
                    self.faults.append(UnreadableVideo(own.where(places[id]), reason))
        for row in unequal.tolist():
            reason = f"its features differ in their numbers of frames: {videos.frames_told(row)}. {ALIGN}"
            self.faults.append(UnreadableVideo(videos.where(row), reason))
        group, bad = OwnGroup(videos, self.dataset, order is not None), set(unequal.tolist())
        for row, place in enumerate(videos.places[:, 0].tolist()):
            if row not in bad:
                number = order[sources[0].files_of(place)[0]] if order else 0
                self.plan.append((number, (group, row)))


def find_own_videos(
    files: Sequence[Path],
    settings: FeatureSettings,
    dataset: DatasetConfig,
    workers: int,
    passed_over: Sequence[Path] = (),
) -> OwnFiles:
    """Look for videos; headers are read, and no values.

    Args:
        files: files, folders and patterns whose videos hold all features: TFRecords as the dataset declares them; or
            npz, HDF5, Parquet or tar, with each feature under its name, or with all of them side by side in the
            dataset's order where nothing is named like a feature; or npy, with the features side by side.
        settings: the files of each feature, in place of `files`; the table of rows, the column of ids, the alignment.
        dataset: what the model needs.
        workers: processes that look at files, where there are many.
        passed_over: files that are no input, where a folder or a pattern brings them along; nor are those in a folder
            of such a name, without its end, that end alike.

    Raises:
        StageError: nothing is named, or both ways are used; features are missing, or are not the model's; there are no
            such files of a feature; a table of rows cannot be read, or does not fit.
    """
    patterns = settings.patterns()
    if not patterns and not files:
        raise StageError(
            f"there is nothing to predict: name at least one file of features ({_READ}), or each feature's files with "
            "--features"
        )
    if patterns and files:
        raise StageError("name either files that hold all features, or each feature's files with --features, not both")
    found = OwnFiles(dataset, tables=files_of_rows(settings.rows) if settings.rows else [])
    rows = read_tables(found.tables) if found.tables else None
    if patterns:
        _check_names(patterns, dataset)
        sources = [
            open_features(feature.name, patterns[feature.name], rows, settings.id, workers, _needed([feature]))
            for feature in dataset.features
        ]
        found.add(sources, settings, None)
        return found
    order = {path: number for number, path in enumerate(_named(files, found, passed_over))}
    look = functools.partial(_look, features=dataset.features, id_column=settings.id)
    by_name: list[tuple[Path, list[Contents]]] = []
    whole: list[tuple[Path, list[Contents]]] = []
    for path, looked in zip(order, look_at_files(look, list(order), workers)):
        if looked is None:
            found.plan.append((order[path], path))
        else:
            (by_name if len(looked) > 1 else whole).append((path, looked))
    for held, divided in ((by_name, [[each] for each in dataset.features]), (whole, [[*dataset.features]])):
        sources = []
        for number, features in enumerate(divided):
            contents = [looked[number] for _, looked in held]
            videos = _videos_of([path for path, _ in held], contents, rows, settings.id)
            sources.append(FilesSource(_name(features), videos, _needed(features)))
        found.add(sources, settings, order)
    return found


def _check_names(patterns: dict[str, str], dataset: DatasetConfig) -> None:
    names = [feature.name for feature in dataset.features]
    for differing in (*(name for name in names if name not in patterns), *(set(patterns) - set(names))):
        raise StageError(
            f"--features must name the files of {', '.join(names)}, not {', '.join(patterns)}: {differing}"
        )


def _named(files: Sequence[Path], found: OwnFiles, passed_over: Sequence[Path]) -> list[Path]:
    """Return the files that are named, each once; note those that are not there, or are named again."""
    paths: dict[str, Path] = {}
    others = [Path(os.path.realpath(path)) for path in passed_over]
    for named in files:
        there = in_order(path for path in named_files(str(named), "**/*") if path == named or not path.is_dir())
        if not there:
            reason = "the folder is empty" if named.is_dir() else "there is no such file"
            found.faults.append(UnreadableVideo(str(named), f"{reason}; name files, folders, or patterns in quotes"))
        for path in there:
            real = os.path.realpath(path)
            if real in paths:
                found.twice.append(path)
            elif path == named or not any(_is_of(Path(real), other) for other in others):
                paths[real] = path
    return list(paths.values())


def _is_of(path: Path, output: Path) -> bool:
    return path == output or (path.parent == output.with_suffix("") and path.suffix == output.suffix)


def _name(features: Sequence[FeatureConfig]) -> str:
    return features[0].name if len(features) == 1 else FRAMES


def _needed(features: Sequence[FeatureConfig]) -> Needed:
    size = sum(feature.size for feature in features)
    if len(features) == 1:
        return Needed(size, f"the {size} of {features[0].name}")
    return Needed(size, f"{size}: {', '.join(f'{each.name} {each.size}' for each in features)} side by side")


def _look(path: Path, features: Sequence[FeatureConfig], id_column: str | None) -> list[Contents] | None:
    """Return what a file holds of each feature, or of all of them side by side; None if it holds TFRecords."""
    try:
        kind = kind_of_file(path) if path.is_file() else None
        if kind == TFRECORDS:
            return None
        if path.is_file() and (kind is None or kind.format not in _FORMATS):
            other = f"the first bytes are not those of {_READ}: it is of another kind, or damaged"
            told = kind.is_not(_READ, "write the features that it holds as one of these") if kind else other
            return [Contents(Found.none(path, told))]
        if len(features) > 1 and kind and kind.format != "npy":
            found = [look_into(path, feature.name, id_column) for feature in features]
            named = [feature.name for feature, each in zip(features, found) if each.named]
            lacking = [feature for feature in features if feature.name not in named]
            if named and not any(_is_whole(*each, features) for each in zip(features, found)):
                if lacking:
                    reason = f"there is {', '.join(named)} and no {lacking[0].name}"
                    reason += f": give its [frames, {lacking[0].size}] under this name"
                    return [Contents(Found.none(path, reason))]
                return found
        return [look_into(path, _name(features), id_column)]
    except (OSError, StageError) as error:
        return [Contents(Found.none(path, f"the file cannot be read: {error}"))]


def _is_whole(feature: FeatureConfig, contents: Contents, features: Sequence[FeatureConfig]) -> bool:
    """Return whether an array with the name of a feature is one of several videos, the features side by side."""
    width = sum(each.size for each in features)
    several = contents.array is not None and (contents.counts or contents.ids)
    return bool(feature.name == FRAMES and several and contents.array and contents.array.shape[-1] == width)


def _videos_of(
    paths: Sequence[Path], contents: Sequence[Contents], rows: Table | None, id_column: str | None
) -> list[Found]:
    """Return the videos of files, with the file before each id."""
    found: list[Found] = []
    if rows is not None:
        found = videos_of(paths, contents, rows, id_column)
    else:
        for path, each in zip(paths, contents):
            try:
                found += videos_of([path], [each], None, id_column)
            except StageError as error:  # of this file alone
                found.append(Found.none(path, str(error)))
    return [
        each._replace(ids=[f"{each.file.path}{APART}{id}" for id in each.ids] if each.file else []) for each in found
    ]
