"""Write the challenge's CSV, or one like a host's sample, from stored predictions, or check any such file.

Reads runs/<preset>/<run>/predictions/<split>/; writes submissions/<preset>-<hash>.csv (.csv.gz) and, beside it, a JSON
file that says what made it and which commands make it again. --upload puts both in a bucket too; --kaggle submits the
CSV, and adds the outcome to the JSON and to submissions/log.jsonl.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.done import digest_json
from pipeline.artifacts.files import write_json
from pipeline.artifacts.places import find_run, list_scored
from pipeline.artifacts.predictions import list_predicted_splits
from pipeline.cli.flags import CommonFlags, SplitFlags, ThresholdFlags
from pipeline.cli.opening import open_index
from pipeline.cli.overrides import override_flags
from pipeline.cli.parsing import parse_flags
from pipeline.cli.paths import PathOrName
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.config import CHALLENGE_PAIRS, SubmissionConfig, ThresholdConfig, to_dict
from pipeline.config.errors import ConfigError, StageError
from pipeline.config.monitor import short_title
from pipeline.config.ranges import Seconds
from pipeline.config.threshold import STORED
from pipeline.config.wording import counted
from pipeline.inference.comparing import best_run
from pipeline.inference.freshness import fresh_predictions
from pipeline.inference.monitor import monitor_of
from pipeline.inference.thresholds import THRESHOLDS, fresh_thresholds, given_thresholds, thresholds_of
from pipeline.inputs.class_names import unnamed
from pipeline.inputs.index import Index
from pipeline.inputs.text import read_lines
from pipeline.presets import load_experiment
from pipeline.submission import CHALLENGE_CLASSES, check_submission, provenance, write_named
from pipeline.submission.like import describe_sample, sample_of_split, tell_losses
from pipeline.submission.like_check import check_like
from pipeline.submission.like_classes import Classes
from pipeline.submission.like_sample import read_sample
from pipeline.submission.log import SubmissionLog, submit_and_record
from pipeline.submission.splits import split_to_submit


@dataclass(frozen=True)
class Flags(SplitFlags, ThresholdFlags, CommonFlags):
    run: PathOrName | None = None
    """Run to submit, by name or path; by default the best on the hold-out, of the runs and their blend."""
    check: Path | None = None
    """Submission file to check; nothing is written then. Each fault is printed with line, column, reason and remedy.
    A file without faults gives exit status 0 and one line."""
    ids: Path | None = None
    """With --check: the videos that the file must hold, each once.
    Give the folder of an index (see --split) or a file with one id on each line."""
    num_classes: int | None = None
    """With --check: number of classes; labels are below it.
    By default the index's, or the challenge's 3862; with --like any, unless --ids names an index."""
    upload: str | None = None
    """Upload the CSV and its JSON to gs://BUCKET/PATH too, with your Google Cloud credentials, and verify them.
    A file that is there with other content is never replaced."""
    kaggle: bool = False
    """Submit the CSV at Kaggle, with your credentials, and wait for its score; equal content is submitted only once."""
    competition: str | None = None
    """With --kaggle: competition to submit to; by default the preset's --submission.competition."""
    message: str | None = None
    """With --kaggle: description that the site shows beside the CSV; by default preset, run and hold-out score."""
    wait: Seconds = 600.0
    """With --kaggle: longest time, in seconds, to wait for the score; the same command again goes on waiting."""
    again: bool = False
    """With --kaggle: submit again, even though the same content was submitted before."""

    def check_together(self) -> None:
        super().check_together()
        if self.threshold and (self.check or not self.like):
            raise ConfigError(
                "--threshold says which labels a file like a sample has: give --like, and no --check; the challenge's "
                "file has the best labels, whatever their scores"
            )


def main() -> None:
    flags, experiment = parse_flags(Flags, STAGES["submit"].sections)
    if flags.check:
        _check(flags, experiment.submission.top_k)
        return
    if flags.upload:
        from pipeline.transfer import gcs  # its client takes half a second to import

        gcs.bucket_and_path(flags.upload)  # a wrong address is refused before anything runs
    if flags.kaggle:
        try:
            from pipeline.submission.kaggle import Kaggle  # so are missing credentials
        except ModuleNotFoundError as error:
            remedy = "`.venv/bin/uv sync --inexact --extra kaggle` installs what is missing"
            raise StageError(f"--kaggle: {error}; {remedy}") from error
        site = Kaggle(flags.competition or experiment.submission.competition)
    elif flags.again or flags.message is not None or flags.competition is not None:
        raise StageError("--again, --message and --competition say how to submit with --kaggle: give that too")
    index = open_index(flags, experiment)
    split = flags.split or split_to_submit(index.other_splits())
    run, scores = _run(flags, index, split)
    store, settings = fresh_predictions(run, split, index), experiment.submission
    ids, num_classes = index.ids_of(index.rows(split)), index.dataset.num_classes
    sample = sample_of_split(flags.like, index, split, settings.top_k) if flags.like else None
    thresholds = None
    if flags.threshold:
        thresholds = given_thresholds(flags.threshold, lambda: thresholds_of(run, index), num_classes)
    folder, name = flags.places.submissions_dir, flags.preset_name
    path, written = write_named(folder, name, store, ids, num_classes, settings, sample, thresholds)
    about = path.with_name(path.name.removesuffix(".gz")).with_suffix(".json")
    steps = provenance.commands_to_reproduce(run, flags.preset, split)
    if flags.threshold == STORED and (run / THRESHOLDS).exists():
        steps.append(_threshold_command(flags, run, fresh_thresholds(run, index).made_from.config))
    chosen = ["--run", run.name, "--split", split, *_form(flags, settings)]
    write_json(
        about,
        {
            "preset": flags.preset_name,
            "videos": written.rows,
            "sha256": written.digest,
            "synthetic": index.dataset.synthetic,
            "index": index.digest,
            "holdout": scores,
            **provenance.describe_run(run, split),
            **provenance.describe_environment(),
            **({"like": describe_sample(sample)} if sample else {}),
            **({} if thresholds is None else {"thresholds": digest_json(thresholds.tolist())}),
            "submitted": SubmissionLog(path.parent).outcomes(written.digest),
            "commands": [*steps, provenance.stage_command_line("submit", flags.preset, *chosen)],
        },
    )
    synthetic = " (synthetic data)" if index.dataset.synthetic else ""
    print(f"{path}: {counted(written.rows, 'video')} of split {split}, valid{synthetic}")
    if sample:
        print(f"like {sample.path}: {sample.cells.describe()}")
        below = None if thresholds is None else written.below
        for line in tell_losses(sample, len(ids), written.stored, settings.top_k, below):
            print(line)
    if flags.kaggle:
        title = short_title(monitor_of(list_scored(flags.places, flags.preset_name)))
        told = f", hold-out {title} {scores[run.name]:.4f}" if run.name in scores else ""
        message = flags.message if flags.message is not None else f"{flags.preset_name} {run.name}{told}"
        print(submit_and_record(path, about, written.digest, message, site, flags.again, flags.wait))
    if flags.upload:
        for url in gcs.upload_all([about, path], flags.upload):
            print(f"{url}: uploaded, checksum verified")


def _form(flags: Flags, settings: SubmissionConfig) -> list[str]:
    """Return the flags that give the file its form; an absolute path of a sample is shortened to the file's name."""
    if flags.like is None:
        return ["--submission.top-k", str(settings.top_k or CHALLENGE_PAIRS)]
    like = ["--like", flags.like.name if flags.like.is_absolute() else str(flags.like)]
    like += ["--threshold", flags.threshold] if flags.threshold else []
    return like if settings.top_k is None else [*like, "--submission.top-k", str(settings.top_k)]


def _threshold_command(flags: Flags, run: Path, chosen_with: ThresholdConfig) -> str:
    """Return the command that chooses a run's thresholds again."""
    preset_says = load_experiment(flags.preset).threshold
    arguments = override_flags("threshold", to_dict(preset_says), to_dict(chosen_with))
    return provenance.stage_command_line("threshold", flags.preset, "--run", run.name, *arguments)


def _run(flags: Flags, index: Index, split: str) -> tuple[Path, dict[str, float]]:
    """Return the run to submit, and by name the hold-out score of all runs that it was chosen from: see `best_run`."""
    if flags.run:
        return find_run(flags.places, flags.preset_name, flags.run), {}
    runs = [run for run in list_scored(flags.places, flags.preset_name) if split in list_predicted_splits(run)]
    if not runs:
        raise StageError(f"no run of preset {flags.preset_name} has predicted {split}: run infer --split {split}")
    return best_run(runs, index, monitor_of(runs))


def _check(flags: Flags, top_k: int | None) -> None:
    if flags.upload or flags.kaggle:
        raise StageError(
            "--check only checks a file and sends nothing: leave out --check to write the submission and send it with "
            "--upload or --kaggle"
        )
    ids, num_classes, names = None, flags.num_classes, None
    if flags.ids is not None and flags.ids.is_dir():
        index = Index.open(flags.ids)
        ids = index.ids_of(index.rows(flags.split or split_to_submit(index.other_splits())))
        num_classes = index.dataset.num_classes if num_classes is None else num_classes
        names = index.class_names if num_classes == index.dataset.num_classes else None
    elif flags.ids is not None:
        if not flags.ids.is_file():
            raise StageError(
                f"--ids {flags.ids}: there is no such index or file; give the folder of an index, or a file with one "
                "id on each line"
            )
        ids = list(dict.fromkeys(line for _, line in read_lines(flags.ids)))
    if not flags.check.exists():
        raise StageError(f"--check {flags.check}: there is no such file")
    if flags.like:
        names = unnamed(num_classes) if names is None and num_classes is not None else names
        sample = read_sample(flags.like, None if names is None else Classes(names), None if ids is None else set(ids))
        faults, ids = check_like(flags.check, sample, top_k), sample.ids
    else:
        faults = check_submission(flags.check, ids, CHALLENGE_CLASSES if num_classes is None else num_classes)
    for fault in faults:
        print(f"{flags.check}: {fault}", file=sys.stderr)
    if faults:
        sys.exit(1)
    print(f"{flags.check}: valid{'' if ids is None else ', ' + counted(len(ids), 'video')}")


if __name__ == "__main__":
    run_stage(main)
