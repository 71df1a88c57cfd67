"""Name the best labels of videos in your own files, with a run, an ensemble or a bundle.

Reads what pack reads, npy, npz, HDF5, Parquet and tar, and TFRecords: files, folders or patterns whose videos hold all
features of the model, each under its name or all of them side by side, or with --features the files of each feature.
The content tells what a file is. Floats are quantized where the model was trained on bytes. Prints a table or JSON
lines, or writes them with --output. Unreadable videos are named, the others predicted, and the exit status is 1.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from pipeline.artifacts.done import digest_json
from pipeline.artifacts.places import find_run
from pipeline.cli.flags import CommonFlags, WorkerFlags
from pipeline.cli.parsing import parse_flags
from pipeline.cli.paths import PathOrName
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.config.errors import ConfigError, StageError
from pipeline.config.ranges import TopK
from pipeline.config.wording import counted
from pipeline.inference.answer_file import answer_file
from pipeline.inference.own_videos import Answer, predict_videos
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
    vocabulary: Path | None = None
    """CSV file with a name for each class, as `ingest` takes it, where neither the bundle nor the index has names."""

    def check_together(self) -> None:
        super().check_together()
        if self.skip_done and not self.output:
            raise ConfigError("--skip-done keeps the lines of a file: name it with --output")
        if self.json and self.output:
            raise ConfigError("--output writes JSON lines, and nothing is printed: leave out --json")


@dataclass
class _Seen:
    """What was met on the way."""

    good: int = 0
    bad: int = 0


def main() -> None:
    flags, experiment = parse_flags(Flags, STAGES["predict"].sections)
    inference = experiment.inference
    if Path(flags.run).is_file():
        ensemble = find_bundle(Path(flags.run))
    else:
        folder = find_run(flags.places, flags.preset_name, flags.run)
        ensemble = find_runs(folder, inference.top_k, flags.places.index)
    names = ensemble.class_names
    if flags.vocabulary:
        names = read_class_names(flags.vocabulary, ensemble.dataset.num_classes)
    found = find_own_videos(flags.files, flags, ensemble.dataset, flags.workers, flags.output)
    seen = _Seen()
    for fault in found.faults:
        _tell_fault(fault, seen)
    for path in found.twice[:_LISTED]:
        print(f"{path} is named twice, and read once", file=sys.stderr)
    if len(found.twice) > _LISTED:
        print(f"and {len(found.twice) - _LISTED} more files are", file=sys.stderr)

    def labels_of(answer: Answer) -> list[dict[str, Any]]:
        labels, scores = (values[: flags.top].tolist() for values in answer.best or ())
        return [{"label": n, "name": names[n], "score": round(score, 6)} for n, score in zip(labels, scores)]

    videos = _told_twice(found.videos())
    if flags.output:
        _write(flags, found, videos, ensemble, names, inference.batch_size, labels_of, seen)
    else:
        for answer in predict_videos(videos, ensemble, inference.batch_size):
            if isinstance(answer.video, UnreadableVideo):
                _tell_fault(answer.video, seen)
                continue
            seen.good += 1
            id, best = answer.video.id, labels_of(answer)
            print(printable_json({"id": id, "labels": best}) if flags.json else _lines(id, best))
    if seen.bad:
        told = counted(seen.good + seen.bad, "video or file", "videos or files")
        raise StageError(
            f"{seen.bad} of {told} could not be read: see above. The model needs {describe_dataset(ensemble.dataset)}"
        )


def _write(
    flags: Flags,
    found: OwnFiles,
    videos: Iterator[OwnVideo | UnreadableVideo],
    ensemble: UnloadedEnsemble,
    names: Any,
    batch_size: int,
    labels_of: Callable[[Answer], list[dict[str, Any]]],
    seen: _Seen,
) -> None:
    """Write the file of answers, and tell what it holds."""
    output = flags.output
    assert output
    tables = [[str(path), *size_and_mtime(path)] for path in found.tables]
    model = digest_json(ensemble.digest(), list(names), flags.top, flags.align, tables)
    with (
        answer_file(output, model, go_on=flags.skip_done) as answers,
        progress_bar(total=found.total(), desc="predict", unit=" videos") as bar,
    ):
        for answer in predict_videos(videos, ensemble, batch_size, answers.has):
            bar.update()
            if isinstance(answer.video, UnreadableVideo):
                _tell_fault(answer.video, seen, bar.write)
                continue
            seen.good += 1
            if answer.best:
                answers.add(answer.video, labels_of(answer))
            else:
                answers.keep(answer.video)
        if not seen.good:
            print(f"{output}: there is nothing to write", file=sys.stderr)
            return
        dropped = answers.write()
    print(f"{output}: {counted(seen.good, 'video')}; {seen.good - answers.kept} predicted, {answers.kept} kept")
    for told in dropped:
        print(f"{output}: dropped {told}")


def _tell_fault(fault: UnreadableVideo, seen: _Seen, write: Callable[..., Any] = print) -> None:
    seen.bad += 1
    write(str(fault), file=sys.stderr)


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
