"""Name the best labels of videos in your own files, with a run, an ensemble or a bundle.

Reads video and sound files, if extract made the features of the model: the same backbones make theirs. And what pack
reads, npy, npz, HDF5, Parquet and tar, and TFRecords: files, folders or patterns whose videos hold all
features of the model, each under its name or all of them side by side, or with --features the files of each feature.
The content tells what a file is. Floats are quantized where the model was trained on bytes. Prints a table or JSON
lines, or writes them with --output. Unreadable videos are named, the others predicted, and the exit status is 1.
"""

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from pipeline.artifacts.done import digest_json
from pipeline.artifacts.places import find_run
from pipeline.cli.flags import CommonFlags, MediaFlags, WorkerFlags
from pipeline.cli.parsing import parse_flags
from pipeline.cli.paths import PathOrName
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.config.errors import ConfigError, StageError
from pipeline.config.ranges import TopK
from pipeline.config.wording import counted
from pipeline.features.files import divided
from pipeline.features.finding import FOLDER as BACKBONES
from pipeline.inference.answer_file import answer_file
from pipeline.inference.own_media import OwnMedia
from pipeline.inference.own_videos import predict_videos
from pipeline.inference.runs import describe_dataset
from pipeline.inference.unloaded import UnloadedEnsemble, find_bundle, find_runs
from pipeline.inputs.class_names import read_class_names
from pipeline.inputs.index.sources import size_and_mtime
from pipeline.inputs.reading.own_records import UnreadableVideo
from pipeline.packing.own_files import OwnFiles, find_own_videos
from pipeline.packing.own_videos import OwnVideo
from pipeline.packing.settings import FeatureSettings
from pipeline.runtime.output import printable_json
from pipeline.runtime.progress import progress_bar

_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class Flags(CommonFlags, WorkerFlags, MediaFlags, FeatureSettings):
    files: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Files, folders or patterns: videos, or files whose videos hold all features of the model."""
    backbone_files: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = ()
    """File of a backbone that made the features, repeatable, where extract has not kept it in data/backbones/ here."""
    run: PathOrName
    """Model to predict with: name or path of a run or an ensemble, or a bundle, the file that `export` made."""
    top: TopK = 5
    """Number of labels named for each video, the best first."""
    json: bool = False
    """Print JSON instead of a table, one object on each line:
    {"id": ..., "labels": [{"label": 17, "name": ..., "score": 0.93}, ...]}."""
    output: Path | None = None
    """File to write such lines to, whole or not at all, with the files that each video was read from."""
    skip_done: tyro.conf.FlagCreatePairsOff[bool] = False
    """Keep the lines of --output whose files and model are unchanged, and predict the other videos.
    An interrupted command goes on so."""
    vocabulary: Path | None = None
    """CSV file with a name for each class, as `ingest` takes it, where neither the bundle nor the index has names."""

    def check_together(self) -> None:
        super().check_together()
        if self.skip_done and not self.output:
            raise ConfigError("--skip-done keeps the lines of a file: name it with --output")
        if self.json and self.output:
            raise ConfigError("--output writes JSON lines, and nothing is printed: leave out --json")


def main() -> None:
    flags, experiment = parse_flags(Flags, STAGES["predict"].sections)
    if Path(flags.run).is_file():
        ensemble = find_bundle(Path(flags.run))
    else:
        folder = find_run(flags.places, flags.preset_name, flags.run)
        ensemble = find_runs(folder, experiment.inference.top_k, flags.places.index)
    names = ensemble.class_names
    if flags.vocabulary:
        names = read_class_names(flags.vocabulary, ensemble.dataset.num_classes)
    paths, files = divided(flags.files)
    found = OwnFiles(ensemble.dataset)
    if files or not paths:
        found = find_own_videos(files, flags, ensemble.dataset, flags.workers, flags.output)
    media = _media(flags, paths, ensemble) if paths else None
    job = _Job(flags, ensemble, names, experiment.inference.batch_size, media)
    for fault in found.faults:
        job.tell(fault)
    for path in found.twice[:_LISTED]:
        print(f"{path} is named twice, and read once", file=sys.stderr)
    if len(found.twice) > _LISTED:
        print(f"and {counted(len(found.twice) - _LISTED, 'more file is', 'more files are')}", file=sys.stderr)
    if flags.output:
        job.write_file(flags.output, found)
    else:
        job.print_all(found)
    damaged = media.damaged if media else []
    for told in damaged:
        print(told, file=sys.stderr)
    if job.bad:
        told = counted(job.good + job.bad, "video or file", "videos or files")
        needs = describe_dataset(ensemble.dataset)
        raise StageError(f"{job.bad} of {told} could not be read: see above. The model needs {needs}")
    if damaged:
        raise StageError(f"{counted(len(damaged), 'file is', 'files are')} damaged: see above; copy or make them again")


def _media(flags: Flags, paths: list[Path], ensemble: UnloadedEnsemble) -> OwnMedia:
    folder = flags.places.data_dir / BACKBONES
    return OwnMedia(paths, ensemble.dataset, flags.backbone_files, folder, flags.workers, flags.missing)


@dataclass
class _Job:
    """What predicts, for whom, and how many videos were good and bad."""

    flags: Flags
    ensemble: UnloadedEnsemble
    names: Sequence[str]
    batch_size: int
    media: OwnMedia | None
    good: int = 0
    bad: int = 0

    def print_all(self, found: OwnFiles) -> None:
        """Print a table, or JSON lines."""
        for video, best in predict_videos(self._videos(found), self.ensemble, self.batch_size):
            if isinstance(video, UnreadableVideo):
                self.tell(video)
            else:
                self.good += 1
                labels = self._labels(*best)
                told = printable_json({"id": video.id, "labels": labels}) if self.flags.json else None
                print(told or _lines(video.id, labels))

    def write_file(self, output: Path, found: OwnFiles) -> None:
        """Write the file of answers, and tell what it holds."""
        tables = [[str(path), *size_and_mtime(path)] for path in found.tables]
        model = digest_json(self.ensemble.digest(), list(self.names), self.flags.top, self.flags.align, tables)
        with (
            answer_file(output, model, go_on=self.flags.skip_done) as answers,
            progress_bar(
                total=found.total() + (len(self.media) if self.media else 0), desc="predict", unit=" videos"
            ) as bar,
        ):
            videos = self._videos(found, answers.has)
            for video, best in predict_videos(videos, self.ensemble, self.batch_size, answers.has):
                bar.update()
                if isinstance(video, UnreadableVideo):
                    self.tell(video, bar.write)
                    continue
                self.good += 1
                if best:
                    answers.add(video, self._labels(*best))
                else:
                    answers.keep(video)
            dropped = answers.write() if self.good else []
        if not self.good:
            print(f"{output}: nothing is written, since no video could be read", file=sys.stderr)
            return
        new = self.good - answers.kept
        print(f"{output}: {counted(self.good, 'video')}; {new} predicted, {answers.kept} kept")
        for told in dropped:
            print(f"{output}: dropped {told}")

    def _videos(
        self, found: OwnFiles, is_known: Callable[[OwnVideo], bool] = lambda video: False
    ) -> Iterator[OwnVideo | UnreadableVideo]:
        return _told_twice(itertools.chain(found.videos(), self.media.videos(is_known) if self.media else ()))

    def tell(self, fault: UnreadableVideo, write: Callable[..., Any] = print) -> None:
        """Name what cannot be read."""
        self.bad += 1
        write(str(fault), file=sys.stderr)

    def _labels(self, labels: np.ndarray, scores: np.ndarray) -> list[dict[str, Any]]:
        top = self.flags.top
        return [
            {"label": label, "name": self.names[label], "score": round(score, 6)}
            for label, score in zip(labels[:top].tolist(), scores[:top].tolist())
        ]


def _told_twice(videos: Iterator[OwnVideo | UnreadableVideo]) -> Iterator[OwnVideo | UnreadableVideo]:
    """Hand the videos on, and tell at the end which ids several of them have."""
    first: dict[str, str] = {}
    twice: list[tuple[str, str, str]] = []
    for each in videos:
        if isinstance(each, OwnVideo) and first.setdefault(each.id, each.where) != each.where:
            twice.append((each.id, first[each.id], each.where))
        yield each
    for id, one, other in twice[:_LISTED]:
        print(f"{id!r} is the id of two videos, in {one} and in {other}; both are predicted", file=sys.stderr)
    if len(twice) > _LISTED:
        print(f"and {counted(len(twice) - _LISTED, 'other video')} have ids of others", file=sys.stderr)


def _lines(id: str, best: list[dict]) -> str:
    """Format a video's rows of the table."""
    rows = [f"{label['score']:.4f}  {label['name']}" for label in best]
    return "\n".join(f"{id if number == 0 else '':<20}  {row}" for number, row in enumerate(rows))


if __name__ == "__main__":
    run_stage(main)
