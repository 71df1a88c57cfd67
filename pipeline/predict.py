"""Name the best labels of videos in your own files, with a run, an ensemble or a bundle.

Reads what pack reads, npy, npz, HDF5, Parquet and tar, and TFRecords: files, folders or patterns whose videos hold all
features of the model, each under its name or all of them side by side, or with --features the files of each feature.
The content tells what a file is. Floats are quantized where the model was trained on bytes. Prints a table or JSON
lines, or writes them with --output. Unreadable videos are named, the others predicted, and
the exit status is 1.

With --every it says when in a video a label is seen: windows of the video are scored, and neighbors merge to intervals.
What the model makes of a frame is made once, unless its frames see each other before they are pooled (recurrent,
attention_netvlad, attention_enhanced_netvlad, latent_attention, second_order if democratic): these see each window
anew.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from pipeline.artifacts.done import digest_json
from pipeline.artifacts.places import find_run
from pipeline.cli.flags import CommonFlags, WorkerFlags
from pipeline.cli.parsing import parse_flags
from pipeline.cli.paths import PathOrName
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.config.errors import ConfigError, StageError
from pipeline.config.ranges import FramesPerSecond, Span, TopK
from pipeline.config.wording import counted
from pipeline.inference.answer_file import answer_file
from pipeline.inference.descriptors import DescriptorFile, descriptor_file
from pipeline.inference.intervals import find_intervals, interval_values
from pipeline.inference.own_videos import predict_videos
from pipeline.inference.runs import describe_dataset
from pipeline.inference.tag_files import SUFFIXES, tag_file
from pipeline.inference.unloaded import UnloadedEnsemble, find_bundle, find_runs
from pipeline.inference.window_scores import score_windows
from pipeline.inference.windows import WindowSettings
from pipeline.inputs.class_names import read_class_names
from pipeline.inputs.index.sources import size_and_mtime
from pipeline.inputs.reading.own_records import UnreadableVideo
from pipeline.packing.own_files import OwnFiles, find_own_videos
from pipeline.packing.own_videos import OwnVideo
from pipeline.packing.settings import FeatureSettings
from pipeline.runtime.output import printable_json
from pipeline.runtime.progress import progress_bar

_LISTED = 5
_SURE = 0.5
"""The score from which on a label is said of a window."""


@dataclass(frozen=True, kw_only=True)
class Flags(CommonFlags, WorkerFlags, FeatureSettings):
    files: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Files, folders or patterns whose videos hold all features of the model."""
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
    window: Span | None = None
    """Length of the windows of a video that are scored, in seconds; by default twice --every."""
    every: Span | None = None
    """From the beginning of one window to that of the next, in seconds; by default half of --window.
    With either of them the answer is intervals: neighboring windows with a label of which the model is sure.
    {"id": ..., "intervals": [{"label": 17, "start": 40.0, "end": 65.0, "peak": 52.5, "score": 0.93, ...}, ...]}.
    --top says how many labels; CSV, WebVTT or SubRip is written to --output FILE.csv, FILE.vtt or FILE.srt."""
    fps: FramesPerSecond = 1.0
    """Frames of a second that the features have, for --window and --every."""
    descriptors: Path | None = None
    """Parquet file to write each video's descriptor to, the vector that the model's pooling makes of it: float16, in a
    column descriptor; of an ensemble in a column for each member, with the name of its run."""
    vocabulary: Path | None = None
    """CSV file with a name for each class, as `ingest` takes it, where neither the bundle nor the index has names."""

    def check_together(self) -> None:
        super().check_together()
        if self.skip_done and not self.output:
            raise ConfigError("--skip-done keeps the lines of a file: name it with --output")
        if self.json and self.output:
            raise ConfigError("--output writes a file, and nothing is printed: leave out --json")
        if self.descriptors and (self.skip_done or self.windows()):
            other = "--skip-done passes over videos" if self.skip_done else "--every scores windows"
            raise ConfigError(f"--descriptors are of whole videos, all of them, and {other}: give one of both")
        if self.output and self.output.suffix in SUFFIXES:
            if not self.windows():
                raise ConfigError(f"--output {self.output} is for intervals: add --every, or name it FILE.jsonl")
            if self.skip_done:
                raise ConfigError(f"--skip-done keeps lines of JSON, and {self.output} has none: name it FILE.jsonl")
        self.windows()

    def windows(self) -> WindowSettings | None:
        """Return which windows are scored; None if whole videos are. Raises ConfigError if they would have no frame."""
        return WindowSettings(self.window, self.every, self.fps) if self.window or self.every else None


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
    found = find_own_videos(flags.files, flags, ensemble.dataset, flags.workers, flags.output)
    job = _Job(flags, ensemble, names, experiment.inference.batch_size)
    for fault in found.faults:
        job.tell(fault)
    for path in found.twice[:_LISTED]:
        print(f"{path} is named twice, and read once", file=sys.stderr)
    if len(found.twice) > _LISTED:
        print(f"and {counted(len(found.twice) - _LISTED, 'more file is', 'more files are')}", file=sys.stderr)
    with contextlib.ExitStack() as stack:
        if flags.descriptors:
            job.descriptors = stack.enter_context(descriptor_file(flags.descriptors, ensemble.digest()))
        if flags.output:
            job.write_file(flags.output, found)
        else:
            job.print_all(found)
        if job.descriptors:
            job.descriptors.write()
    if job.bad:
        told = counted(job.good + job.bad, "video or file", "videos or files")
        needs = describe_dataset(ensemble.dataset)
        raise StageError(f"{job.bad} of {told} could not be read: see above. The model needs {needs}")


@dataclass
class _Job:
    """What predicts, for whom, and how many videos were good and bad."""

    flags: Flags
    ensemble: UnloadedEnsemble
    names: Sequence[str]
    batch_size: int
    descriptors: DescriptorFile | None = None
    """Where descriptors go."""
    good: int = 0
    bad: int = 0

    def print_all(self, found: OwnFiles) -> None:
        """Print a table, or JSON lines."""
        for video, values in self._answers(found):
            if isinstance(video, UnreadableVideo):
                self.tell(video)
            elif values:
                self.good += 1
                told = printable_json({"id": video.id, **values}) if self.flags.json else None
                print(told or _lines(video.id, **values))

    def write_file(self, output: Path, found: OwnFiles) -> None:
        """Write the file of answers, and tell what it holds."""
        tables = [[str(path), *size_and_mtime(path)] for path in found.tables]
        model = digest_json(
            self.ensemble.digest(), list(self.names), self.flags.top, self.flags.align, tables, *self._times()
        )
        tags = output.suffix in SUFFIXES
        with (
            tag_file(output, found.total() > 1)
            if tags
            else answer_file(output, model, go_on=self.flags.skip_done) as answers,
            progress_bar(total=found.total(), desc="predict", unit=" videos") as bar,
        ):
            for video, values in self._answers(found, answers.has):
                bar.update()
                if isinstance(video, UnreadableVideo):
                    self.tell(video, bar.write)
                    continue
                self.good += 1
                if values:
                    answers.add(video, values)
                else:
                    answers.keep(video)
            dropped = answers.write() if self.good else []
        if not self.good:
            print(f"{output}: nothing is written, since no video could be read", file=sys.stderr)
            return
        new = self.good - answers.kept
        print(f"{answers.path}: {counted(self.good, 'video')}; {new} predicted, {answers.kept} kept")
        for told in dropped:
            print(f"{output}: dropped {told}")

    def tell(self, fault: UnreadableVideo, write: Callable[..., Any] = print) -> None:
        """Name what cannot be read."""
        self.bad += 1
        write(str(fault), file=sys.stderr)

    def _answers(
        self, found: OwnFiles, is_known: Callable[[OwnVideo], bool] = lambda video: False
    ) -> Iterator[tuple[OwnVideo | UnreadableVideo, dict[str, Any] | None]]:
        """Yield each video, and what is said of it; None if that is known, or it cannot be read."""
        videos = _told_twice(found.videos())
        windows = self.flags.windows()
        if windows is None:
            for video, best, descriptors in predict_videos(
                videos, self.ensemble, self.batch_size, is_known, self.descriptors is not None
            ):
                if self.descriptors and descriptors:
                    self.descriptors.add(video.id, descriptors)
                yield video, {"labels": self._labels(*best)} if best else None
            return
        thresholds = np.full(self.ensemble.dataset.num_classes, _SURE)
        for video, seen, scores in score_windows(videos, self.ensemble, windows, self.batch_size, is_known):
            if seen is None:
                yield video, None
                continue
            intervals = find_intervals(scores, seen, thresholds, self.flags.top)
            yield video, {"intervals": [interval_values(each, self.names) for each in intervals]}

    def _times(self) -> list[Any]:
        """Return what intervals depend on beside the model; nothing where there are none."""
        windows = self.flags.windows()
        return [[windows.length, windows.step, windows.fps, _SURE]] if windows else []

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


def _lines(id: str, labels: Sequence[dict] = (), intervals: Sequence[dict] = ()) -> str:
    """Format a video's rows of the table."""
    rows = [f"{label['score']:.4f}  {label['name']}" for label in labels]
    rows += [f"{each['start']:>8.1f} - {each['end']:<8.1f}  {each['score']:.4f}  {each['name']}" for each in intervals]
    rows = rows or ["no label is seen"]
    return "\n".join(f"{id if number == 0 else '':<20}  {row}" for number, row in enumerate(rows))


if __name__ == "__main__":
    run_stage(main)
