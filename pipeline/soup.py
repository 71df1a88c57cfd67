"""Average the weights of a run's last evaluations: all of them, or those that help on the hold-out.

Reads runs/<preset>/<run>/snapshots/, which `train --training.snapshots N` keeps, and the index; writes
runs/<preset>/<run>-soup/, a run like any other. The greedy method chooses by the hold-out score that the run was
trained by, GAP or another (--training.monitor), so the soup's own is a little too good; only videos by which nothing
was chosen give a fair score.
"""

import contextlib
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.artifacts.done import Done, StageOutput, stage_output
from pipeline.artifacts.files import read_json, write_json
from pipeline.artifacts.folds import is_folded
from pipeline.artifacts.locks import locked
from pipeline.artifacts.models import MODEL, digest_model, list_snapshots, store_model
from pipeline.artifacts.places import RUN_CONFIG, find_run
from pipeline.cli.flags import ReadingFlags
from pipeline.cli.opening import open_index
from pipeline.cli.parsing import parse_flags
from pipeline.cli.paths import PathOrName
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.cli.types import Family
from pipeline.config import InferenceConfig, SamplingConfig, differences, from_dict
from pipeline.config.errors import StageError
from pipeline.config.monitor import Monitor, key_of, short_title
from pipeline.inference.comparing import scored_by
from pipeline.inference.monitor import monitor_of
from pipeline.inference.scoring import Metrics
from pipeline.inputs.index import HOLDOUT, Index
from pipeline.runtime import backend, devices
from pipeline.runtime.progress import progress_bar

_ALIKE = ("dataset", "sampling", "model")
"""Settings that runs must share for the mean of their weights to be a model."""


@dataclass(frozen=True)
class Flags(ReadingFlags):
    model: Family = None
    """Pooling family of the run, which has its name unless --run gives another."""
    run: PathOrName | None = None
    """Run whose snapshots are averaged, by name or path; by default the model's name."""
    runs: tuple[PathOrName, ...] = ()
    """Other runs of the same architecture, by name or path, whose snapshots are averaged too.
    A mean with runs that began with other weights (--training.seed) is rarely any good; greedy leaves them out."""
    method: Literal["uniform", "greedy"] = "greedy"
    """Method of averaging. uniform: the mean of all snapshots.
    greedy: the mean of those that do not lower the hold-out score when they are added, the best first.
    The run's own best model is among them, so the mean never scores below it."""


def main() -> None:
    flags, experiment = parse_flags(Flags, STAGES["soup"].sections)
    names = (flags.run or experiment.model.family, *flags.runs)
    runs = [find_run(flags.places, flags.preset_name, name) for name in names]
    if len({run.name for run in runs}) < len(runs):
        raise StageError(f"two of the runs have one name: {', '.join(map(str, runs))}; name each run once")
    with contextlib.ExitStack() as locks:
        for run in runs:
            locks.enter_context(locked(run))
        # Only from here on do the runs stay as they are.
        configs = _configs(runs)
        index = open_index(flags, experiment, flags.places.index(configs[0]["dataset"]["name"]))
        _check_index(runs, configs, flags.method, index)
        with stage_output(runs[0].with_name(f"{runs[0].name}-soup")) as work:
            _cook(work, runs, configs, flags.method, index, experiment.inference)


def _cook(
    work: StageOutput,
    runs: list[Path],
    configs: list[dict[str, Any]],
    method: str,
    index: Index,
    inference: InferenceConfig,
) -> None:
    """Make the run with averaged weights, unless it is up to date."""
    folder = work.place
    if (folder / RUN_CONFIG).exists() and "soup" not in read_json(folder / RUN_CONFIG):
        raise StageError(
            f"{folder} is a run that train made, and the soup would replace it: rename that run's folder, or delete it"
        )
    members = {name: path for run in runs for name, path in _members(run, method).items()}
    made = {"method": method, "runs": [run.name for run in runs]}
    inputs = {"index": index.digest} | {name: digest_model(path) for name, path in members.items()}
    if work.is_up_to_date(made, inputs):
        return
    backend.start_backend()
    devices.spread(inference.devices, "inference.devices")
    from pipeline.training.origin import describe_origin, now

    origin, monitor = describe_origin(), monitor_of(runs)
    with work.replace(made, inputs) as output:
        metrics, taken = _average(members, output.folder / MODEL, method, index, configs[0], inference, monitor)
        summaries = [read_json(run / "summary.json") for run in runs]
        key = key_of(monitor)
        before = [summary["best"][key] for summary in summaries if metrics]
        gaps = [summary["best"]["gap"] for summary in summaries if metrics]
        soup = {**made, "members": list(members), "taken": taken, "gap_before": max(gaps, default=None)}
        summary = {
            **summaries[0],
            "run": folder.name,
            "seconds": sum(summary["seconds"] for summary in summaries),
            "best": {**metrics, "step": summaries[0]["steps"]},
            "origin": {**origin, "ended": now()},
            "soup": {**soup, "gap_after": metrics.get("gap")},
        }
        write_json(output.folder / RUN_CONFIG, {**configs[0], "soup": made, "inputs": inputs})
        write_json(output.folder / "summary.json", summary)
        output.digest = digest_model(output.folder / MODEL)
    scored = f", hold-out {short_title(monitor)} {max(before):.4f} -> {metrics[key]:.4f}" if metrics else ""
    listed = ", ".join(each["member"] for each in taken)
    print(f"{folder / MODEL}: the mean of {listed}{scored}{' (synthetic)' if summary['synthetic'] else ''}")


def _configs(runs: list[Path]) -> list[dict[str, Any]]:
    """Return the settings of runs that are trained to their end and of one architecture; raise StageError if not."""
    configs = [_config(run) for run in runs]
    for run, config in zip(runs, configs):
        if changed := [line for part in _ALIKE for line in differences(configs[0][part], config[part], f"{part}.")]:
            raise StageError(f"{run} is not of the architecture of {runs[0]}: {'; '.join(changed)}")
    return configs


def _check_index(runs: list[Path], configs: list[dict[str, Any]], method: str, index: Index) -> None:
    """Raise StageError if the runs were not trained on the index, or it has no hold-out and the method needs one."""
    for run, config in zip(runs, configs):
        if config["inputs"]["index"] != index.digest:
            raise StageError(f"{run} was not trained on the index {index.folder} as it is now: train it anew")
    if method == "greedy" and not index.splits.get(HOLDOUT):
        raise StageError(f"greedy chooses by the hold-out, and {index.folder} has none: choose --method uniform")


def _config(run: Path) -> dict[str, Any]:
    if is_folded(run):
        raise StageError(
            f"{run} is trained in folds, and the mean of their weights would have seen every video that they hold out; "
            "it predicts by the mean of its models already. Choose a run that is trained without folds"
        )
    if not (run / RUN_CONFIG).exists():
        raise StageError(f"{run} is a blend of runs, and has no weights to average: choose one of its members")
    if Done.read(run) is None:
        raise StageError(f"{run} is not trained to its end: run train again, it goes on from its checkpoint")
    return read_json(run / RUN_CONFIG)


def _members(run: Path, method: str) -> dict[str, Path]:
    """Return the models of a run that can be averaged, by name; raise StageError if it kept none."""
    snapshots = list_snapshots(run)
    if not snapshots:
        raise StageError(
            f"{run} has kept no snapshots: train it with --training.snapshots N, under another --run or with --force"
        )
    members = {f"{run.name}/{path.stem}": path for path in snapshots}
    if method == "greedy" and digest_model(run / MODEL) not in map(digest_model, snapshots):
        members[f"{run.name}/best"] = run / MODEL
    return members


def _average(
    members: dict[str, Path],
    path: Path,
    method: str,
    index: Index,
    config: dict[str, Any],
    inference: InferenceConfig,
    monitor: Monitor,
) -> tuple[Metrics, list[dict[str, Any]]]:
    """Store the average at `path`; return its metrics on the hold-out, {} without one, and the members in it."""
    from pipeline.inference.ensemble import Ensemble
    from pipeline.inference.predictor import Predictor
    from pipeline.inputs.reading.reader import FrameReader
    from pipeline.models import load_model
    from pipeline.training import averaging

    model = load_model(next(iter(members.values())))
    sampling = from_dict(SamplingConfig, config["sampling"])
    ensemble = Ensemble.of_model(model, sampling, index.dataset, inference.top_k)
    predictor, reader = Predictor(ensemble, inference.batch_size), FrameReader(index)
    holdout = index.rows(HOLDOUT) if index.splits.get(HOLDOUT) else []
    scorings = 2 * len(members) if method == "greedy" else 1
    with progress_bar(total=scorings * len(holdout), desc=f"soup {method}", unit=" videos", unit_scale=True) as bar:
        metrics_now = functools.partial(predictor.evaluate_rows, reader, holdout, bar.update)
        if method == "greedy":
            names = {member: name for name, member in members.items()}
            chosen = averaging.average_greedily(
                model, list(names), lambda: scored_by(monitor, predictor.evaluate_rows(reader, holdout, bar.update))
            )
            taken = [
                {"member": names[member], monitor: alone, f"{monitor}_with_it": together}
                for member, (alone, together) in chosen.items()
            ]
        else:
            averaging.average_uniformly(model, list(members.values()))
            taken = [{"member": name} for name in members]
        metrics = metrics_now() if len(holdout) else {}
    store_model(path, model)
    return metrics, taken


if __name__ == "__main__":
    run_stage(main)
