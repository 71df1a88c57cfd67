"""Stored predictions as a file that is known to be valid, under the name that its content gives it."""

from pathlib import Path

from tqdm import tqdm

from pipeline.artifacts.done import Done
from pipeline.artifacts.predictions import PredictionStore
from pipeline.config import SubmissionConfig
from pipeline.config.errors import StageError
from pipeline.submission.rows import Written, write
from pipeline.submission.validation import check


def write_named(
    folder: Path, name: str, store: PredictionStore, ids: list[str], num_classes: int, settings: SubmissionConfig
) -> tuple[Path, Written]:
    """Write `<name>-<hash>.csv`, or `.csv.gz`, into a folder; the hash is of the text, so both have the same.

    Raises:
        StageError: there are no finished predictions, or they make no valid file of these ids; none is left then.
    """
    predicted = Done.read(store.folder)
    if predicted is None:
        raise StageError(f"{store.folder} holds no finished predictions: run infer, then ensemble")
    suffix = ".csv.gz" if settings.gzip else ".csv"
    temporary = folder / f".{name}.{predicted.output}{suffix}"
    try:
        with tqdm(store.read(), total=len(store.parts()), desc="submit", unit=" parts") as parts:
            written = write(temporary, parts, settings.top_k)
        if faults := check(temporary, ids, num_classes, settings.top_k):
            raise StageError(f"{store.folder} makes no valid file:\n" + "\n".join(map(str, faults)))
        path = folder / f"{name}-{written.digest[:8]}{suffix}"
        temporary.replace(path)
    except ValueError as error:
        raise StageError(f"{store.folder}: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path, written
