"""What a whole run of the pipeline has come to: its best score, its files, and what to do with them."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from pipeline.artifacts.files import read_json
from pipeline.artifacts.places import Places, list_scored
from pipeline.artifacts.predictions import list_predicted_splits
from pipeline.config.monitor import TITLES, Monitor, key_of
from pipeline.inference.comparing import scored_by, spread_of
from pipeline.inference.freshness import prediction_store, why_stale
from pipeline.inference.monitor import monitor_of
from pipeline.inference.scoring import Metrics, Scores, scores_of
from pipeline.inputs.index import HOLDOUT, Index
from pipeline.submission import CHALLENGE_CLASSES


def tell_outcome(places: Places, preset: str, preset_name: str, index: Index, submitted: bool) -> Iterator[str]:
    """Yield lines: the best run, the CSV if one was submitted, the page, and two commands that may come next.

    Args:
        places: where the results lie.
        preset: the preset as --preset names it.
        preset_name: its name, by which its results are found.
        index: the index that they were made from.
        submitted: whether `submit` has written a CSV.
    """
    runs = list_scored(places, preset_name)
    monitor = monitor_of(runs)
    best = _best(runs, index, monitor)
    if best:
        run, split, metrics = best
        synthetic = " (synthetic)" if index.dataset.synthetic else ""
        keys = dict.fromkeys((key_of(monitor), *(("top_1",) if "top_1" in metrics else ())))
        told = ", ".join(f"{TITLES[key]} {metrics[key]:.4f}" for key in keys if metrics.get(key) is not None)
        chosen = ", the best on the hold-out" if split != HOLDOUT and index.holdout_labeled else ""
        yield f"best score   {told} on {split}, by {run.name}{chosen}{synthetic}"
        if index.folds:
            yield from _tell_folds(run, index, monitor)
    csv = _newest_csv(places.submissions_dir, preset_name) if submitted else None
    if csv:
        yield f"submission   {csv}"
    yield f"page         {places.reports_dir / f'{preset_name}.html'}"
    name = best[0].name if best else "RUN"
    challenge = csv and index.dataset.num_classes == CHALLENGE_CLASSES and not index.dataset.synthetic
    first = ("submit", "--kaggle") if challenge else ("export", "--run", name)
    yield f"next         {_command(places, preset, *first)}"
    yield f"             {_command(places, preset, 'predict', '--run', name, 'FILE')}"


def _best(runs: list[Path], index: Index, monitor: Monitor) -> tuple[Path, str, Metrics] | None:
    """Return a run, and its scores on the last labeled split that is not the hold-out, or else on that.

    Of the runs that have predicted that split it is the best on the hold-out, or on that split if there is none.
    """
    for split in sorted(filter(index.labeled, index.scored_splits()), key=HOLDOUT.__eq__):
        there = _predicted(runs, split, index)
        choosing = HOLDOUT if index.holdout_labeled and _predicted(there, HOLDOUT, index) else split
        found = {run: _scores(run, choosing, index).comparable for run in _predicted(there, choosing, index)}
        if found:
            run = max(found, key=lambda run: scored_by(monitor, found[run]))
            return run, split, _scores(run, split, index).whole
    return None


def _tell_folds(run: Path, index: Index, monitor: Monitor) -> Iterator[str]:
    """Yield a line with the out-of-fold score of a run, and with the spread over the folds."""
    key = key_of(monitor)
    for each in _predicted([run], HOLDOUT, index):
        scores = _scores(each, HOLDOUT, index)
        whole, spread = scores.whole.get(key), spread_of(scores.folds or [], key)
        if whole is not None:
            told = f", {spread[0]:.4f} ± {spread[1]:.4f} over {index.folds} folds" if spread else ""
            yield f"out of fold  {TITLES[key]} {whole:.4f}{told}, by {run.name}"


def _scores(run: Path, split: str, index: Index) -> Scores:
    return scores_of(prediction_store(run, split), index, split)


def _predicted(runs: list[Path], split: str, index: Index) -> list[Path]:
    """Return the runs whose predictions of a split are there and up to date."""
    return [run for run in runs if split in list_predicted_splits(run) and not why_stale(run, split, index)]


def _newest_csv(folder: Path, preset_name: str) -> Path | None:
    """Return the CSV that was written last for a preset: `submit` writes the file beside it anew each time."""
    abouts = [path for path in folder.glob(f"{preset_name}-*.json") if read_json(path).get("preset") == preset_name]
    for about in sorted(abouts, key=lambda path: -path.stat().st_mtime_ns)[:1]:
        for csv in (about.with_suffix(".csv"), about.with_suffix(".csv.gz")):
            if csv.exists():
                return csv
    return None


def _command(places: Places, preset: str, stage: str, *arguments: str) -> str:
    """Return a stage's command, with the folders where they are not the usual ones."""
    usual = vars(Places.from_environment())
    moved = {name: folder for name, folder in vars(places).items() if folder != usual[name]}
    flags = [token for name, folder in moved.items() for token in (f"--{name.replace('_', '-')}", str(folder))]
    return shlex.join(["python", "-m", f"pipeline.{stage}", "--preset", preset, *arguments, *flags])
