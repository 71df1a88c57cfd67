"""Name the best labels of videos in your own files, with a run, an ensemble or a bundle.

Reads video and sound files, if extract made the features of the model: the same backbones make theirs. And what pack
reads, npy, npz, HDF5, Parquet and tar, and TFRecords: files, folders or patterns whose videos hold all
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
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from pipeline.artifacts.places import find_run
from pipeline.cli.flags import CommonFlags, MediaFlags, ThresholdFlags, WorkerFlags
from pipeline.cli.parsing import parse_flags
from pipeline.cli.paths import PathOrName
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.config import DatasetConfig
from pipeline.config.errors import ConfigError, StageError
from pipeline.config.ranges import FramesPerSecond, Span, TopK
from pipeline.config.threshold import Wanted
from pipeline.features.files import divided
from pipeline.features.finding import FOLDER as BACKBONES
from pipeline.inference.answers.answering import Answer, Asked
from pipeline.inference.answers.giving import Giving
from pipeline.inference.answers.tag_files import SUFFIXES
from pipeline.inference.descriptors import descriptor_file
from pipeline.inference.given.all_videos import GivenVideos
from pipeline.inference.given.files import OwnFiles, find_own_videos
from pipeline.inference.given.media import OwnMedia, extracted_fps
from pipeline.inference.given.unreadable import Unreadable
from pipeline.inference.runs import describe_dataset
from pipeline.inference.unloaded import UnloadedEnsemble, find_bundle, find_runs
from pipeline.inference.windows.times import WindowSettings
from pipeline.inputs.class_names import read_class_names
from pipeline.packing.settings import FeatureSettings
from pipeline.reporting.tag_pages import tag_pages
from pipeline.reporting.tag_values import SeenVideo, Tagging

_EVERY = 5.0
"""Seconds from the beginning of a window to that of the next, where --page alone asks for windows."""


@dataclass(frozen=True, kw_only=True)
class Flags(CommonFlags, WorkerFlags, ThresholdFlags, MediaFlags, FeatureSettings):
    files: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Files, folders or patterns: videos, or files whose videos hold all features of the model."""
    backbone_files: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = ()
    """File of a backbone that made the features, repeatable, where extract has not kept it in data/backbones/ here."""
    run: PathOrName
    """Model to predict with: name or path of a run or an ensemble, or a bundle, the file that `export` made."""
    top: TopK | None = None
    """Largest number of labels named for each video, the best first; by default 5, or all that reach their thresholds.
    """
    precision: Wanted | None = None
    """Name a label only from a score on, in place of --threshold: chosen for each class on the run's hold-out, so that
    this share of the labels named is right. The preset's threshold section says how; bundles have no hold-out."""
    recall: Wanted | None = None
    """The same, so that this share of the true labels is named."""
    json: bool = False
    """Print JSON instead of a table, one object on each line:
    {"id": ..., "labels": [{"label": 17, "name": ..., "score": 0.93}, ...]}."""
    output: Path | None = None
    """File to write such lines to, whole or not at all, with the files that each video was read from; intervals also as
    CSV, WebVTT or SubRip, as the ending says."""
    skip_done: tyro.conf.FlagCreatePairsOff[bool] = False
    """Keep the lines of --output whose files and model are unchanged, and predict the other videos.
    An interrupted command goes on so."""
    window: Span | None = None
    """Length of the windows of a video that are scored, in seconds; by default twice --every."""
    every: Span | None = None
    """From the beginning of one window to that of the next, in seconds; by default half of --window.
    With either of them the answer is intervals: neighboring windows in which a label reaches --threshold, 0.5 here
    unless it is given.
    {"id": ..., "intervals": [{"label": 17, "start": 40.0, "end": 65.0, "peak": 52.5, "score": 0.93, ...}, ...]}.
    --top says how many labels."""
    fps: FramesPerSecond | None = None
    """Frames of a second that the features have, for --window and --every: 1 by default, or those that extract took."""
    page: Path | None = None
    """HTML page to write, to look at: a time line with each label's intervals and scores, and the frames that counted
    most. Of several videos it is an index with a search, and their pages are in a folder of its name. Without --every
    and --window, windows begin every 5 seconds."""
    descriptors: Path | None = None
    """Parquet file to write each video's descriptor to, the vector that the model's pooling makes of it: float16, in a
    column descriptor; of an ensemble in a column for each member, with the name of its run."""
    vocabulary: Path | None = None
    """CSV file with a name for each class, as `ingest` takes it, where neither the bundle nor the index has names."""

    def check_together(self) -> None:
        super().check_together()
        if self.skip_done and not self.output:
            raise ConfigError("--skip-done keeps the lines of a file: name it with --output")
        if sum(each is not None for each in (self.threshold, self.precision, self.recall)) > 1:
            raise ConfigError("--threshold, --precision and --recall each say from which score on: give one of them")
        if self.json and self.output:
            raise ConfigError("--output writes a file, and nothing is printed: leave out --json")
        if self.descriptors and self.in_windows:
            raise ConfigError("--descriptors are of whole videos, and --window, --every and --page of windows")
        if self.skip_done and (self.descriptors or self.page):
            raise ConfigError(
                "--descriptors and --page are of all videos: leave out --skip-done, which passes over some"
            )
        if self.output and self.output.suffix in SUFFIXES:
            if not self.in_windows:
                raise ConfigError(f"--output {self.output} is for intervals: add --every, or name it FILE.jsonl")
            if self.skip_done:
                raise ConfigError(f"--skip-done keeps lines of JSON, and {self.output} has none: name it FILE.jsonl")

    @property
    def in_windows(self) -> bool:
        """Whether windows are scored, and not whole videos."""
        return bool(self.window or self.every or self.page)

    def windows(self, dataset: DatasetConfig) -> WindowSettings | None:
        """Return which windows are scored; None if whole videos are.

        Raises ConfigError if they would have no frame, or extract took other frames than --fps says.
        """
        if not self.in_windows:
            return None
        taken = extracted_fps(dataset)
        if self.fps and taken not in (None, self.fps):
            raise ConfigError(f"--fps {self.fps:g}: extract took {taken:g} frames of a second: leave it out")
        every = self.every or (None if self.window else _EVERY)
        return WindowSettings(self.window, every, self.fps or taken or 1.0)


def main() -> None:
    flags, experiment = parse_flags(Flags, STAGES["predict"].sections)
    ensemble = _ensemble(flags, experiment.inference.top_k)
    windows, names = flags.windows(ensemble.dataset), ensemble.class_names
    if flags.vocabulary:
        names = read_class_names(flags.vocabulary, ensemble.dataset.num_classes)
    outputs = list(filter(None, (flags.output, flags.page, flags.descriptors)))
    paths, files = divided(flags.files)
    found = OwnFiles(ensemble.dataset)
    if files or not paths:
        found = find_own_videos(files, flags, ensemble.dataset, flags.workers, outputs)
    given = GivenVideos(found, _media(flags, paths, ensemble) if paths else None)
    describe, weigh = flags.descriptors is not None, flags.page is not None
    goals = {"precision": flags.precision, "recall": flags.recall}
    by_class = ensemble.by_class(flags.threshold, goals, experiment.threshold)
    asked = Asked(ensemble, names, experiment.inference.batch_size, flags.top, by_class, windows, describe, weigh)
    unreadable = Unreadable()
    with contextlib.ExitStack() as stack:
        descriptors = pages = None
        if flags.descriptors:
            descriptors = stack.enter_context(descriptor_file(flags.descriptors, ensemble.digest()))
        if flags.page:
            tagging = Tagging(Path(flags.run).name, names, windows, asked.thresholds())
            pages = stack.enter_context(tag_pages(flags.page, given.total() > 1, tagging))

        def take(answer: Answer) -> None:
            if descriptors and answer.descriptors:
                descriptors.add(answer.video.id, answer.descriptors)
            if pages and answer.scored:
                pages.add(SeenVideo.of(answer))

        giving = Giving(asked, given, unreadable, take)
        for fault in found.faults:
            unreadable.tell(fault)
        given.tell_twice()
        if flags.output:
            giving.write_file(flags.output, flags.align, flags.skip_done)
        else:
            giving.print_all(flags.json)
        for other in filter(None, (descriptors, pages)):
            other.write()
    unreadable.end(giving.good, given.damaged(), describe_dataset(ensemble.dataset))


def _ensemble(flags: Flags, top_k: int | None) -> UnloadedEnsemble:
    """Return what predicts; raises StageError if what is asked for cannot be had from it."""
    if Path(flags.run).is_file():
        ensemble = find_bundle(Path(flags.run))
    else:
        ensemble = find_runs(find_run(flags.places, flags.preset_name, flags.run), top_k, flags.places.index)
    if ensemble.is_onnx and (flags.descriptors or flags.page):
        flag, wanted = ("--descriptors", "descriptors") if flags.descriptors else ("--page", "weights of frames")
        raise StageError(
            f"{flags.run} is an .onnx file, which gives no {wanted}: leave out {flag}, or name its run or a zip that "
            "export made"
        )
    return ensemble


def _media(flags: Flags, paths: list[Path], ensemble: UnloadedEnsemble) -> OwnMedia:
    folder = flags.places.data_dir / BACKBONES
    return OwnMedia(paths, ensemble.dataset, flags.backbone_files, folder, flags.workers, flags.missing)


if __name__ == "__main__":
    run_stage(main)
