"""Write the challenge's CSV from stored predictions, or check any such file.

Reads runs/<preset>/<run>/predictions/<split>/; writes submissions/<preset>-<hash>.csv and, beside it, what made it.
"""

import platform
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from pipeline.artifacts import ENSEMBLE, WEIGHTS, Done, StageError, digest_file, find_run, read_json, write_json
from pipeline.commandline import Common, parse, run_stage
from pipeline.config import to_dict
from pipeline.inputs.index import Index
from pipeline.store import PredictionStore
from pipeline.submission import check, write

CHALLENGE_CLASSES = 3862


@dataclass(frozen=True)
class Flags(Common):
    run: str | None = None
    """Name or path of the run to submit; by default whichever is best on the hold-out, of the runs and their blend."""
    split: str | None = None
    """Split to submit; by default test, or the only one that is not trained on."""
    check: Path | None = None
    """Check this file instead: exit status 0 and one line, or each fault with its line, column, reason and remedy."""
    ids: Path | None = None
    """With --check: the videos that must be there, each once: an index folder (its split) or a file, one id a line."""
    num_classes: int | None = None
    """With --check: labels are below this; by default as in the index, or else the 3862 of the challenge."""


def main() -> None:
    flags, experiment = parse(Flags, ["submission"])
    if flags.check:
        _check(flags)
        return
    index = Index.open(flags.places.index(experiment.dataset.name))
    split = flags.split or submitted_split(index)
    run = _run(flags)
    store = PredictionStore(run / "predictions" / split)
    predicted = Done.read(store.folder)
    if predicted is None:
        raise StageError(f"{store.folder} holds no finished predictions: run infer, then ensemble")
    top_k = experiment.submission.top_k
    folder = flags.submissions_dir
    temporary = folder / f".{flags.preset_name}.{predicted.output}.csv"
    try:
        rows = write(temporary, store.read(), top_k)
        faults = check(temporary, index.ids_of(index.rows(split)), index.dataset.num_classes, top_k)
        if faults:
            raise StageError("the file would not be valid:\n" + "\n".join(map(str, faults)))
        path = folder / f"{flags.preset_name}-{digest_file(temporary)[:8]}.csv"
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    weights = flags.places.run(flags.preset_name, ENSEMBLE) / WEIGHTS
    write_json(
        path.with_suffix(".json"),
        {
            "preset": flags.preset_name,
            "run": run.name,
            "split": split,
            "videos": rows,
            "synthetic": index.dataset.synthetic,
            "submission": to_dict(experiment.submission),
            "index": index.digest,
            "predictions": predicted.output,
            "made_from": read_json(weights) if weights.exists() else read_json(run / "summary.json"),
            "python": platform.python_version(),
            "packages": {name: version(name) for name in ("keras", "numpy", "tensorflow")},
        },
    )
    print(f"{path}: {rows} videos of split {split}, valid{' (synthetic data)' if index.dataset.synthetic else ''}")


def submitted_split(index: Index) -> str:
    """test, or the only split that is neither trained on nor the hold-out."""
    others = [split for split in index.scored_splits() if split != "holdout"]
    if "test" in others:
        return "test"
    if len(others) == 1:
        return others[0]
    raise StageError(f"which split is to be submitted? Choose --split from: {', '.join(others) or 'none is left'}")


def _run(flags: Flags) -> Path:
    ensemble = flags.places.run(flags.preset_name, ENSEMBLE)
    if flags.run:
        return ensemble if flags.run == ENSEMBLE else find_run(flags.places, flags.preset_name, flags.run)
    if not (ensemble / WEIGHTS).exists():
        raise StageError(f"{ensemble} holds no blend: run ensemble first, or name a run with --run")
    blend = read_json(ensemble / WEIGHTS)
    scores = blend["scores"].get("holdout", {ENSEMBLE: {"gap": 0.0}})
    best = max(scores, key=lambda run: scores[run]["gap"])
    paths = {member["run"]: Path(member["path"]) for member in blend["members"]}
    return paths.get(best, ensemble)


def _check(flags: Flags) -> None:
    ids, num_classes = None, flags.num_classes
    if flags.ids is not None and flags.ids.is_dir():
        index = Index.open(flags.ids)
        ids = index.ids_of(index.rows(flags.split or submitted_split(index)))
        num_classes = num_classes or index.dataset.num_classes
    elif flags.ids is not None:
        if not flags.ids.is_file():
            raise StageError(f"--ids {flags.ids}: there is no such index or file")
        ids = flags.ids.read_text(encoding="utf-8").split("\n")
        ids = ids[:-1] if ids[-1] == "" else ids
    if not flags.check.is_file():
        raise StageError(f"--check {flags.check}: there is no such file")
    faults = check(flags.check, ids, num_classes or CHALLENGE_CLASSES)
    for fault in faults:
        print(f"{flags.check}: {fault}", file=sys.stderr)
    if faults:
        sys.exit(1)
    print(f"{flags.check}: valid{'' if ids is None else f', {len(ids)} videos'}")


if __name__ == "__main__":
    run_stage(main)
