"""Show a preset's runs on one page: scores, training, ensemble, calibration, classes, some videos, and the data.

Reads runs/<preset>/*/ and the index; writes reports/<preset>.html, which needs no network and no other file.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.done import DONE, Done, digest_file, digest_json, stage_output
from pipeline.artifacts.files import atomic_file
from pipeline.artifacts.folds import FOLDS
from pipeline.artifacts.hidden import visible
from pipeline.artifacts.places import ENSEMBLE, WEIGHTS, find_run, list_scored
from pipeline.cli.flags import ReadingFlags
from pipeline.cli.opening import open_index
from pipeline.cli.parsing import parse_flags
from pipeline.cli.paths import PathOrName
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.config.errors import StageError
from pipeline.config.wording import counted
from pipeline.inference.freshness import is_of_index
from pipeline.inference.thresholds import THRESHOLDS
from pipeline.inputs.index import HOLDOUT, Index
from pipeline.reporting import FORMAT
from pipeline.runtime import backend
from pipeline.runtime.output import printable
from pipeline.runtime.progress import progress_bar

_TOLD = "what it tells"


@dataclass(frozen=True)
class Flags(ReadingFlags):
    run: PathOrName | None = None
    """Run to show in detail, by name or path; by default the best on the hold-out, of the runs and their blend."""
    frames: bool = True
    """Load the best single run, and show which frames of some videos it attends to."""


def main() -> None:
    flags, experiment = parse_flags(Flags, STAGES["report"].sections)
    index = open_index(flags, experiment)
    if "statistics" not in index.summary:
        raise StageError(
            f"{index.folder} was made by an earlier version and lacks statistics that the page shows: run ingest again"
        )
    asked = find_run(flags.places, flags.preset_name, flags.run).resolve() if flags.run else None
    with stage_output(flags.places.reports_dir / f"{flags.preset_name}.html", _made_from) as work:
        told = _told(flags, index, asked)
        if not work.is_up_to_date({}, {_TOLD: told}):
            _report(work.place, flags, index, asked, told)


def _report(path: Path, flags: Flags, index: Index, asked: Path | None, told: str) -> None:
    from pipeline.inference.monitor import monitor_of
    from pipeline.inference.scoring import score_priors
    from pipeline.reporting import page, runs, videos

    folders = list_scored(flags.places, flags.preset_name)
    folders += [asked] if asked and asked not in {folder.resolve() for folder in folders} else []
    if not folders:
        raise StageError(f"preset {flags.preset_name} has no runs in {flags.places.runs_dir}: run train")
    predicted, left_out = {}, []
    for folder in folders:
        predicted[folder], faults = runs.fresh_splits(folder, index)
        left_out += faults
        if not is_of_index(folder, index):
            left_out.append(f"the history of {folder}, which is of another index")
    splits = [split for split in index.scored_splits() if any(split in there for there in predicted.values())]
    with progress_bar(total=sum(map(len, predicted.values())) + len(splits), desc="report", unit=" splits") as bar:
        every = [runs.read_run(folder, index, bar.update) for folder in folders]
        split = HOLDOUT if HOLDOUT in splits else next(iter(splits), None)
        monitor = monitor_of(folders)
        run = runs.best_of([each for each in every if asked in (None, each.folder.resolve())], split, monitor)
        if asked and not run:
            raise StageError(f"{asked} has not predicted {split or 'a split with labels'}: run infer --run {flags.run}")
        diagnostics = {}
        for each in splits:
            if each in run.scores:
                diagnostics[each] = runs.diagnose(run, index, each)
            bar.update()
    decisions, fault = runs.read_decisions(run, index) if run else (None, "")
    left_out += [fault] if fault else []
    for fault in left_out:
        print(f"left out: {fault}", file=sys.stderr)
    single = runs.best_of([each for each in every if each.trained], split, monitor)
    shown = videos.choose_videos(single, index, split, index.class_names) if single else []
    if shown and flags.frames:
        backend.start_backend()
        try:
            videos.add_frame_weights(single, index, shown)
        except StageError as error:
            raise StageError(f"{error}; --no-frames leaves out what {single.name} looks at") from error
    ensemble = flags.places.run(flags.preset_name, ENSEMBLE)
    report = page.Report(
        preset=flags.preset_name,
        index=index,
        names=index.class_names,
        monitor=monitor,
        runs=every,
        blend=runs.read_blend(ensemble) if ensemble in folders and is_of_index(ensemble, index) else None,
        run=run,
        asked=asked is not None,
        diagnostics=diagnostics,
        decisions=decisions,
        priors={each: score_priors(index, each) for each in splits if index.has_training},
        left_out=tuple(left_out),
        single=single,
        videos=tuple(shown),
        videos_split=split or "",
        digest=told,
    )
    with atomic_file(path) as temporary:
        temporary.write_text(printable(page.render(report)), encoding="utf-8")
    scored = f", {run.name} on {', '.join(diagnostics)}" if run else ", none of them scored"
    print(f"{path}: {counted(len(every), 'run')}{scored}{' (synthetic)' if index.dataset.synthetic else ''}")


def _told(flags: Flags, index: Index, asked: Path | None) -> str:
    """Return a hash of the page's format and of all that it is made from."""
    tellers = (DONE, WEIGHTS, FOLDS, THRESHOLDS, "summary.json", "metrics.jsonl")
    folders = [flags.places.runs_dir / flags.preset_name, *([asked] if asked else [])]
    files = [file for folder in folders for name in tellers for file in sorted(visible(folder, f"**/{name}"))]
    return digest_json(
        FORMAT,
        index.digest,
        index.class_names,
        str(asked),
        flags.frames,
        [[str(file), digest_file(file)] for file in files],
    )


def _made_from(page: Path) -> Done | None:
    """Read what a page says it was made from; None if there is no page, no inputs if it does not say."""
    if not page.exists():
        return None
    with page.open(encoding="utf-8", errors="replace") as file:
        said = re.search(r'<meta name="made-from" content="(\w+)">', file.read(2000))
    return Done({}, {_TOLD: said[1]} if said else {}, "")


if __name__ == "__main__":
    run_stage(main)
