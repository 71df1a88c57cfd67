"""Write the challenge's CSV from stored predictions, or check any such file.

Reads runs/<preset>/<run>/predictions/<split>/; writes submissions/<preset>-<hash>.csv (.csv.gz) and, beside it, what
made it and the commands that make it again; --upload puts both in a bucket too; --kaggle submits the CSV, and adds what
came of it to the JSON and to submissions/log.jsonl.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.files import write_json
from pipeline.artifacts.places import find_run, list_scored
from pipeline.artifacts.predictions import predicted_splits
from pipeline.cli.flags import Common, Submitted
from pipeline.cli.opening import open_index
from pipeline.cli.parsing import parse
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.config.errors import StageError
from pipeline.config.ranges import Seconds
from pipeline.inference.freshness import fresh
from pipeline.inference.scoring import best_run
from pipeline.inputs.index import Index
from pipeline.submission import CHALLENGE_CLASSES, check, provenance, write_named
from pipeline.submission.log import SubmissionLog, submit_and_record
from pipeline.submission.splits import submitted


@dataclass(frozen=True)
class Flags(Submitted, Common):
    run: str | None = None
    """Name or path of the run to submit; by default whichever is best on the hold-out, of the runs and their blend."""
    check: Path | None = None
    """Check this file instead: exit status 0 and one line, or each fault with its line, column, reason and remedy."""
    ids: Path | None = None
    """With --check: the videos that must be there, each once: an index folder (its split) or a file, one id a line."""
    num_classes: int | None = None
    """With --check: labels are below this; by default as in the index, or else the 3862 of the challenge."""
    upload: str | None = None
    """gs://BUCKET/PATH: put the CSV and its JSON below it too, with your Google Cloud credentials, verified; what is
    there with other content is never replaced."""
    kaggle: bool = False
    """Submit the CSV at Kaggle, with your credentials, and wait for its score; the same content is submitted once."""
    competition: str | None = None
    """With --kaggle: where; by default the preset's --submission.competition."""
    message: str | None = None
    """With --kaggle: what the site shows beside it; by default preset, run and hold-out GAP."""
    wait: Seconds = 600.0
    """With --kaggle: seconds in which the score is waited for; the same command goes on waiting."""
    again: bool = False
    """With --kaggle: submit the same content once more."""


def main() -> None:
    flags, experiment = parse(Flags, STAGES["submit"].sections)
    if flags.check:
        _check(flags)
        return
    if flags.upload:
        from pipeline.transfer import gcs  # its client takes half a second to import

        gcs.bucket_and_path(flags.upload)  # a wrong address is refused before anything runs
    if flags.kaggle:
        from pipeline.submission.kaggle import Kaggle  # so is having no credentials

        site = Kaggle(flags.competition or experiment.submission.competition)
    elif flags.again or flags.message is not None or flags.competition is not None:
        raise StageError("--again, --message and --competition say how to submit with --kaggle: give that too")
    index = open_index(flags, experiment)
    split = flags.split or submitted(index.other_splits())
    run, scores = _run(flags, index, split)
    store, settings = fresh(run, split, index), experiment.submission
    ids, num_classes = index.ids_of(index.rows(split)), index.dataset.num_classes
    path, written = write_named(flags.places.submissions_dir, flags.preset_name, store, ids, num_classes, settings)
    about = path.with_name(path.name.removesuffix(".gz")).with_suffix(".json")
    steps = provenance.commands(run, flags.preset, split)
    chosen = ("--run", run.name, "--split", split, "--submission.top-k", str(settings.top_k))
    write_json(
        about,
        {
            "preset": flags.preset_name,
            "videos": written.rows,
            "sha256": written.digest,
            "synthetic": index.dataset.synthetic,
            "index": index.digest,
            "holdout": scores,
            **provenance.describe(run, split),
            **provenance.environment(),
            "submitted": SubmissionLog(path.parent).outcomes(written.digest),
            "commands": [*steps, provenance.command("submit", flags.preset, *chosen)],
        },
    )
    synthetic = " (synthetic data)" if index.dataset.synthetic else ""
    print(f"{path}: {written.rows} videos of split {split}, valid{synthetic}")
    if flags.kaggle:
        gap = f", hold-out GAP {scores[run.name]:.4f}" if run.name in scores else ""
        message = flags.message if flags.message is not None else f"{flags.preset_name} {run.name}{gap}"
        print(submit_and_record(path, about, written.digest, message, site, flags.again, flags.wait))
    if flags.upload:
        for url in gcs.upload_all([about, path], flags.upload):
            print(f"{url}: uploaded, checksum verified")


def _run(flags: Flags, index: Index, split: str) -> tuple[Path, dict[str, float]]:
    """The run to submit, and the hold-out GAP of all that were to choose from, by name: see `best_run`."""
    if flags.run:
        return find_run(flags.places, flags.preset_name, flags.run), {}
    runs = [run for run in list_scored(flags.places, flags.preset_name) if split in predicted_splits(run)]
    if not runs:
        raise StageError(f"no run of preset {flags.preset_name} has predicted {split}: run infer")
    return best_run(runs, index)


def _check(flags: Flags) -> None:
    if flags.upload or flags.kaggle:
        raise StageError("--check only checks: without it, --upload and --kaggle write the submission and send it")
    ids, num_classes = None, flags.num_classes
    if flags.ids is not None and flags.ids.is_dir():
        index = Index.open(flags.ids)
        ids = index.ids_of(index.rows(flags.split or submitted(index.other_splits())))
        num_classes = index.dataset.num_classes if num_classes is None else num_classes
    elif flags.ids is not None:
        if not flags.ids.is_file():
            raise StageError(f"--ids {flags.ids}: there is no such index or file")
        ids = list(dict.fromkeys(filter(None, flags.ids.read_text(encoding="utf-8").split("\n"))))
    if not flags.check.is_file():
        raise StageError(f"--check {flags.check}: there is no such file")
    faults = check(flags.check, ids, CHALLENGE_CLASSES if num_classes is None else num_classes)
    for fault in faults:
        print(f"{flags.check}: {fault}", file=sys.stderr)
    if faults:
        sys.exit(1)
    print(f"{flags.check}: valid{'' if ids is None else f', {len(ids)} videos'}")


if __name__ == "__main__":
    run_stage(main)
