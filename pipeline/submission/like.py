"""Fit a host's sample submission to a split of the index, and say what is lost between them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.config.wording import counted, listed
from pipeline.inputs.index import Index
from pipeline.submission.like_classes import Classes
from pipeline.submission.like_ids import find_rows
from pipeline.submission.like_sample import Sample, read_sample


def sample_of_split(path: Path, index: Index, split: str, top_k: int | None) -> Sample:
    """Read a sample that asks for videos of a split.

    Raises StageError, as `read_sample` and `find_rows` do, if it has other classes or ids than the index, or does not
    show how `top_k` labels are written.
    """
    ids = index.ids_of(index.rows(split))
    sample = read_sample(path, Classes(index.class_names), set(ids))
    find_rows(sample, ids)
    sample.cells.count(path, top_k)
    return sample


def describe_sample(sample: Sample) -> dict[str, Any]:
    """Return what a file was written like, as JSON values: the sample's name and digest, and its form in words."""
    with sample.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": sample.path.name, "sha256": digest, "form": sample.cells.describe()}


def tell_losses(sample: Sample, videos: int, stored: int, top_k: int | None, below: int | None = None) -> Iterator[str]:
    """Yield lines that say what a file lacks.

    Args:
        sample: what it is like.
        videos: how many are predicted.
        stored: how many labels of each.
        top_k: how many labels of a row were asked for.
        below: in how many rows no label reaches its threshold; None if there are no thresholds.
    """
    names = sample.cells.classes.names if sample.cells.classes else []
    if left := videos - len(sample.ids):
        yield f"{counted(left, 'video')} of the split left out: the sample does not ask for them"
    if sample.cells.form == "columns":
        there = set(sample.cells.numbers)
        lacking = [name for number, name in enumerate(names) if number not in there]
        if lacking:
            some = listed([*map(repr, lacking)])
            yield f"{counted(len(lacking), 'class', 'classes')} left out: the sample has no column for {some}"
        if below is not None:
            yield f"1 where a score reaches its threshold, else 0; {counted(below, 'row')} without a 1"
        elif sample.cells.binary:
            yield "probabilities, where the sample has 0 and 1 alone: for decisions give --threshold"
        if stored < len(names):
            yield (
                f"{counted(stored, 'class', 'classes')} of {len(names)} have a score for each video, and the others "
                "get 0: infer and ensemble store more with larger --inference.top-k and --ensemble.top-k"
            )
    else:
        wanted = sample.cells.count(sample.path, top_k)
        said = f"--submission.top-k {top_k}" if top_k else "as many as a row of the sample has at most"
        most = "" if below is None else "at most "
        reason = said if wanted <= stored else "no more are stored"
        yield f"{most}{counted(min(wanted, stored), 'label')} a row: {reason}"
        if below is not None:
            instead = "empty" if sample.cells.empty else "filled with the best one, as no row of the sample is empty"
            yield f"{counted(below, 'row')} of which no label reaches its threshold: {instead}"
