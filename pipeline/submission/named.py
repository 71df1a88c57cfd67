"""Write stored predictions as a submission file that is named by a hash of its content."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.done import Done
from pipeline.artifacts.files import remove_leftovers, sync, temporary_path
from pipeline.artifacts.predictions import Predictions, PredictionStore
from pipeline.config import CHALLENGE_PAIRS, SubmissionConfig
from pipeline.config.errors import StageError
from pipeline.config.wording import counted
from pipeline.runtime.progress import progress_bar
from pipeline.submission.like_rows import write_like
from pipeline.submission.like_sample import Sample
from pipeline.submission.rows import WrittenSubmission, write_rows


def write_named(
    folder: Path,
    name: str,
    store: PredictionStore,
    ids: Sequence[str],
    num_classes: int,
    settings: SubmissionConfig,
    sample: Sample | None = None,
    thresholds: NDArray[np.float64] | None = None,
) -> tuple[Path, WrittenSubmission]:
    """Write `<name>-<hash>.csv`, or `.csv.gz`, into a folder; the hash is of the text, so it is the same for both.

    The file has the challenge's form, or that of a sample, of which thresholds say which labels it has.

    Raises:
        StageError: there are no finished predictions, or they do not fit the ids; no file is left then.
    """
    if Done.read(store.folder) is None:
        raise StageError(f"{store.folder} holds no finished predictions: run infer, then ensemble")
    suffix = ".csv.gz" if settings.gzip else ".csv"
    remove_leftovers(folder)
    try:
        with temporary_path(folder / f"{name}{suffix}") as temporary:
            with progress_bar(store.read(), total=len(store.parts()), desc="submit", unit=" parts") as parts:
                videos = _of_videos(parts, ids, num_classes)
                if sample is None:
                    written = write_rows(temporary, videos, settings.top_k or CHALLENGE_PAIRS, settings.gzip)
                else:
                    written = write_like(temporary, videos, ids, sample, settings.top_k, settings.gzip, thresholds)
            path = folder / f"{name}-{written.digest[:8]}{suffix}"
            sync(temporary)
            temporary.replace(path)
            sync(folder)
    except ValueError as error:
        raise StageError(f"{store.folder}: {error}") from error
    return path, written


def _of_videos(parts: Iterator[Predictions], ids: Sequence[str], num_classes: int) -> Iterator[Predictions]:
    """Yield the parts. Raises ValueError if they are of other videos or classes, or in another order."""
    done = 0
    for part in parts:
        expected = ids[done : done + len(part.ids)]
        if list(part.ids) != list(expected):
            other = next((id for id, wanted in zip(part.ids, expected) if id != wanted), part.ids[-1])
            raise ValueError(f"video {other!r} is not the one that the index has in its place: run infer again")
        if part.labels.size and part.labels.max() >= num_classes:
            raise ValueError(
                f"label {part.labels.max()} is not one of {counted(num_classes, 'class', 'classes')}: run infer again"
            )
        done += len(part.ids)
        yield part
    if done < len(ids):
        raise ValueError(
            f"{counted(len(ids) - done, 'video')} not predicted, for example {ids[done]!r}: run infer again"
        )
