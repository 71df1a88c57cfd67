"""Name the best labels of videos in your own files, with a run, an ensemble or a bundle.

Reads TFRecords (records as the model's dataset declares them; labels are not needed), npz and HDF5 (for each feature,
under its name, an array [frames, values]; or `frames` [videos, frames, values] with `num_frames` [videos] and, if you
like, `ids`) and npy (one video, [frames, values], with the features side by side). The content tells which of these a
file is, not its name. Values are such as the model was trained on: bytes if its features are quantized. Prints a table,
or JSON lines; writes nothing. Unreadable videos are named, the others are predicted, and the exit status is 1.
"""

import contextlib
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from pipeline.artifacts.places import find_run
from pipeline.cli.flags import CommonFlags
from pipeline.cli.parsing import parse_flags
from pipeline.cli.paths import PathOrName
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.config.errors import StageError
from pipeline.config.ranges import TopK
from pipeline.config.wording import counted
from pipeline.inference.runs import read_blend
from pipeline.inputs.class_names import read_class_names, stored_class_names, unnamed
from pipeline.runtime import backend
from pipeline.runtime.output import printable_json

if TYPE_CHECKING:
    from pipeline.inference.ensemble import Ensemble


_MOST_VALUES = 1 << 30
"""Values of the frames of a batch: fewer videos are taken at once if a bundle is of long ones."""


@dataclass(frozen=True, kw_only=True)
class Flags(CommonFlags):
    files: tyro.conf.Positional[tuple[Path, ...]]
    """Files with the features of videos: TFRecords, npz, npy or HDF5."""
    run: PathOrName
    """Model to predict with: name or path of a run or an ensemble, or a bundle, the file that `export` made."""
    top: TopK = 5
    """Number of labels named for each video, the best first."""
    json: bool = False
    """Print JSON instead of a table, one object on each line:
    {"id": ..., "labels": [{"label": 17, "name": ..., "score": 0.93}, ...]}."""
    vocabulary: Path | None = None
    """CSV file with a name for each class, as `ingest` takes it, where neither the bundle nor the index has names."""


def main() -> None:
    flags, experiment = parse_flags(Flags, STAGES["predict"].sections)
    if not flags.files:
        raise StageError("there is nothing to predict: name at least one file of features: TFRecords, npz, npy or HDF5")
    ensemble = _ensemble(flags, experiment.inference.top_k)
    names = ensemble.class_names
    if flags.vocabulary:
        names = read_class_names(flags.vocabulary, ensemble.dataset.num_classes)
    good = bad = 0
    for video, labels, scores in _predictions(flags.files, ensemble, experiment.inference.batch_size):
        if labels is None:
            bad += 1
            print(video, file=sys.stderr)
            continue
        good += 1
        best = [
            {"label": label, "name": names[label], "score": round(score, 6)}
            for label, score in zip(labels[: flags.top].tolist(), scores[: flags.top].tolist())
        ]
        print(printable_json({"id": video.id, "labels": best}) if flags.json else _lines(video.id, best))
    if bad:
        raise StageError(
            f"{bad} of {counted(good + bad, 'video or file', 'videos or files')} could not be read: see above"
        )


def _ensemble(flags: Flags, top_k: int | None) -> "Ensemble":
    """Load the run, ensemble or bundle that predicts."""
    bundle = Path(flags.run)
    if not bundle.is_file():
        folder = find_run(flags.places, flags.preset_name, flags.run)
        recipe, runs = read_blend(folder, top_k)
        index, num_classes = flags.places.index(runs[0].dataset.name), runs[0].dataset.num_classes
        names = stored_class_names(index, num_classes) or unnamed(num_classes)
    with contextlib.redirect_stdout(sys.stderr):  # the standard output is for the answers
        backend.start_backend()
    if bundle.is_file():
        from pipeline.inference.bundle.loading import load_bundle

        return load_bundle(bundle)
    from pipeline.inference.ensemble import Ensemble

    return Ensemble.of_runs(recipe, runs, top_k, names)


def _predictions(files: tuple[Path, ...], ensemble: "Ensemble", batch_size: int) -> Iterator[tuple]:
    """Yield each video with its labels and scores, or a fault in their place. One batch at a time is in memory."""
    from pipeline.inference.predictor import Predictor
    from pipeline.inputs.reading.own_files import UnreadableVideo, Video, batch_videos, read_videos, sample_video
    from pipeline.inputs.reading.sampling import sampled_length

    dataset, predictor = ensemble.dataset, Predictor(ensemble, batch_size)
    frames = sum(sampled_length(each.evaluation, each, dataset) for each in predictor.samplings)
    batch_size = predictor.batch_size = max(1, min(batch_size, _MOST_VALUES // (dataset.width * frames)))

    def sampled() -> Iterator[Video | UnreadableVideo]:
        """Of a long video no more is kept than is shown to the models."""
        for each in itertools.chain.from_iterable(read_videos(path, dataset) for path in files):
            if isinstance(each, Video):
                each = each._replace(frames=sample_video(each.frames, predictor.samplings, dataset))
            yield each

    found = sampled()
    for chunk in iter(lambda: list(itertools.islice(found, batch_size)), []):
        videos = [each.frames for each in chunk if not isinstance(each, UnreadableVideo)]
        best = predictor.predict(batch_videos(videos, dataset, predictor.samplings, batch_size))
        answers = (row for labels, scores in best for row in zip(labels, scores))
        for each in chunk:
            yield (each, None, None) if isinstance(each, UnreadableVideo) else (each, *next(answers))


def _lines(id: str, best: list[dict]) -> str:
    """Format a video's rows of the table."""
    rows = [f"{label['score']:.4f}  {label['name']}" for label in best]
    return "\n".join(f"{id if number == 0 else '':<20}  {row}" for number, row in enumerate(rows))


if __name__ == "__main__":
    run_stage(main)
