"""Bundle all that predicts (models, blend, class names) into one file, and tell whether the rules allow its size.

Reads runs/<preset>/<run>/, and the index for the hold-out's score; writes runs/<preset>/<run>-<weights>.zip, or with
--onnx an .onnx file, which `infer --bundle` and `predict --run` take on any machine. The exit status is 1 if it is
larger than the rules allow.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from pipeline.artifacts.done import Done, StageOutput, digest_json, stage_output
from pipeline.artifacts.files import atomic_file, read_json
from pipeline.artifacts.locks import locked
from pipeline.artifacts.places import ENSEMBLE, WEIGHTS, find_run, list_runs
from pipeline.cli.flags import ReadingFlags
from pipeline.cli.opening import open_index
from pipeline.cli.parsing import parse_flags
from pipeline.cli.paths import PathOrName
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.config import Experiment, InferenceConfig, labels_kept, to_dict
from pipeline.config.errors import ConfigError, StageError
from pipeline.config.wording import counted
from pipeline.inference.bundle.header import read_header, read_scores
from pipeline.inference.bundle.ingredients import Ingredients
from pipeline.inference.comparing import best_run
from pipeline.inference.folds import why_seen
from pipeline.inference.freshness import prediction_store, why_stale
from pipeline.inference.monitor import monitor_of
from pipeline.inference.runs import TrainedRun, read_blend
from pipeline.inference.scoring import scores_of
from pipeline.inference.thresholds import THRESHOLDS, Thresholds, fresh_thresholds, why_outdated
from pipeline.inputs.index import HOLDOUT, Index
from pipeline.runtime import backend
from pipeline.runtime.progress import progress_bar

LIMIT = 10**9
"""Largest size in bytes. The rules of 2018 say 1 GB, uncompressed; this is the stricter of its two readings."""
ROOM = 4096
"""Bytes reserved for the scores, which are written last."""


@dataclass(frozen=True)
class Flags(ReadingFlags):
    run: PathOrName | None = None
    """Run or ensemble to bundle, by name or path; by default the best on the hold-out, as `submit` takes it."""
    weights: Literal["float32", "float16", "int8"] = "float16"
    """Type in which large matrices are stored: a smaller type makes a smaller file, with rounded weights.
    Vectors and running statistics stay float32."""
    precision: Literal["float32", "trained"] = "float32"
    """Precision in which the models compute. float32 gives the same scores on every machine.
    trained is what each model was trained in, faster where the hardware multiplies bfloat16."""
    output: Path | None = None
    """Path of the bundle; by default runs/<preset>/<run>-<weights>.zip, or .onnx."""
    onnx: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write the bundle as an .onnx file, which predicts by ONNX Runtime without Keras, here and in other programs.
    Writing it needs TensorFlow and the extra onnx, predicting the extra alone."""
    allow_over: bool = False
    """Accept a bundle that is larger than the rules allow: the exit status is then 0."""
    saved_model: Path | None = None
    """Folder to write the bundle into as a TensorFlow SavedModel too, for serving."""

    def check_together(self) -> None:
        super().check_together()
        if self.onnx and self.precision == "trained":
            raise ConfigError("--precision trained is bfloat16, which ONNX Runtime does not compute in: leave it out")
        if self.onnx and self.saved_model:
            raise ConfigError("--saved-model is written from a bundle that Keras reads: leave out --onnx")


def main() -> None:
    flags, experiment = parse_flags(Flags, STAGES["export"].sections)
    if flags.saved_model:
        backend.check_tensorflow("--saved-model")
    if flags.run:
        folder = find_run(flags.places, flags.preset_name, flags.run)
    else:
        folder = _best(flags, open_index(flags, experiment))
    suffix = ".onnx" if flags.onnx else ".zip"
    path = flags.output or flags.places.run(flags.preset_name, f"{folder.name}-{flags.weights}{suffix}")
    with stage_output(path, _made_from) as work:
        _export(work, flags, experiment, folder)
        _tell(path, flags.allow_over)


def _export(work: StageOutput, flags: Flags, experiment: Experiment, folder: Path) -> None:
    """Write the bundle of a run or a blend, unless it is up to date, and the SavedModel that is asked for."""
    path = work.place
    recipe, runs = read_blend(folder, experiment.inference.top_k)
    dataset = runs[0].dataset
    index = open_index(flags, experiment, flags.places.index(dataset.name))
    names, kept = index.class_names, labels_kept(experiment.inference.top_k, dataset.num_classes)
    if not index.has_class_names:
        print(f"{index.folder} has no class names: predict will tell numbers, not names: ingest --vocabulary FILE")
    form = ", ONNX" if flags.onnx else ""
    made_from = {
        "settings": f"weights {flags.weights}, precision {flags.precision}, {kept} labels kept{form}",
        "recipe": digest_json(recipe.to_dict()),
        "names": digest_json(names),
        "index": index.digest,
        **{f"run {number}": run.digest for number, run in enumerate(runs)},
    }
    thresholds = _thresholds(folder, index)
    if thresholds:
        made_from["thresholds"] = digest_json(to_dict(thresholds))
    done = work.is_up_to_date({}, made_from)
    if not done or flags.saved_model:
        backend.start_backend()
    if not done:
        from pipeline.inference.bundle.writing import add_scores, write_bundle

        made_of = Ingredients(recipe, runs, names, flags.weights, experiment.inference, made_from, thresholds)
        with atomic_file(path) as temporary:
            if flags.onnx:
                from pipeline.inference.bundle.onnx_writing import write_onnx

                write_onnx(temporary, made_of)
            else:
                write_bundle(temporary, made_of, keep_precision=flags.precision == "trained")
            size = temporary.stat().st_size + ROOM
            scores = {
                "bytes": size,
                "limit": LIMIT,
                "eligible": size <= LIMIT,
                "holdout": _holdout(temporary, folder, runs, index, experiment.inference),
            }
            add_scores(temporary, scores)
        told = f", with thresholds for {thresholds.settings.describe()}" if thresholds else ""
        print(f"{path}: {counted(made_of.count_models(), 'model')} as {flags.weights}{told}")
    if flags.saved_model:
        _save_model(path, flags.saved_model)


def _made_from(bundle: Path) -> Done | None:
    return Done({}, read_header(bundle).inputs, "") if bundle.exists() else None


def _thresholds(folder: Path, index: Index) -> Thresholds | None:
    """Return the thresholds that were chosen for a run; raises StageError if they are not those of its scores."""
    if not (folder / THRESHOLDS).exists():
        return None
    if fault := why_outdated(folder, index):
        raise StageError(f"{fault}, or delete the file: a bundle needs no thresholds")
    return fresh_thresholds(folder, index).chosen


def _best(flags: Flags, index: Index) -> Path:
    """Return the folder that is best on the hold-out, of the preset's trained runs and their blend."""
    ensemble = flags.places.run(flags.preset_name, ENSEMBLE)
    runs = [run for run in list_runs(flags.places, flags.preset_name) if Done.read(run)]
    if not runs:
        raise StageError(f"preset {flags.preset_name} has no trained run: run train")
    every = [*runs, *([ensemble] if (ensemble / WEIGHTS).exists() else [])]
    return best_run(every, index, monitor_of(every))[0]


def _holdout(
    bundle: Path, folder: Path, runs: list[TrainedRun], index: Index, inference: InferenceConfig
) -> dict[str, Any]:
    """Return the hold-out's metrics before bundling, and those of the bundle when it is read back.

    With folds, each video is predicted by the bundle's models of the fold that held it out.
    """
    if not index.holdout_labeled or any(why_seen(run.folder, run.dataset, run.trained_on, index) for run in runs):
        return {}
    from pipeline.inference.bundle.loading import load_bundle
    from pipeline.inference.predictor import Predictor
    from pipeline.inputs.reading.reader import FrameReader

    rows = index.rows(HOLDOUT)
    if not why_stale(folder, HOLDOUT, index):
        before = scores_of(prediction_store(folder, HOLDOUT), index, HOLDOUT).whole
    else:  # a run's training has scored it with the same code; a blend, of one run too, has no training
        before = read_json(folder / "summary.json").get("best", {}) if runs[0].folder == folder else {}
    predictor, reader = Predictor(load_bundle(bundle), inference.batch_size), FrameReader(index)
    with progress_bar(total=len(rows), desc="hold-out", unit=" videos", unit_scale=True) as bar:
        if index.folds:
            after = predictor.evaluate_folds(reader, bar.update)
        else:
            after = predictor.evaluate_rows(reader, rows, bar.update)
    reader.close()
    return {"before": before, "after": after}


def _save_model(bundle: Path, folder: Path) -> None:
    from pipeline.inference.bundle.loading import load_bundle
    from pipeline.inference.saved_model import write_saved_model

    with locked(folder):
        write_saved_model(load_bundle(bundle), folder)
    print(f"{folder}: SavedModel; its signature takes frames and num_frames, and gives probabilities")


def _tell(path: Path, allow_over: bool) -> None:
    """Print the bundle's scores and size; raise StageError if it is larger than the rules allow."""
    scores = read_scores(path)
    holdout = scores["holdout"]
    if "gap" in holdout.get("before", {}):
        before, after = holdout["before"]["gap"], holdout["after"]["gap"]
        print(f"hold-out GAP {before:.4f} before, {after:.4f} as bundled ({after - before:+.4f})")
    size = path.stat().st_size
    sizes = f"{size:,} bytes uncompressed, {size / LIMIT:.1%} of the {LIMIT:,} that the rules allow"
    if scores["eligible"]:
        print(f"{sizes}: eligible")
    elif allow_over:
        print(f"{sizes}: NOT eligible")
    else:
        raise StageError(
            f"{path}: {sizes}: not eligible. The bundle is written and can predict. To make it smaller, choose "
            "--weights int8, or fewer members (ensemble --runs); to accept its size, give --allow-over"
        )


if __name__ == "__main__":
    run_stage(main)
