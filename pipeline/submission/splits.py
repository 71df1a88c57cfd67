"""Which split of a dataset is submitted."""

from collections.abc import Sequence

from pipeline.config.errors import StageError


def split_to_submit(splits: Sequence[str], asked: str | None = None) -> str:
    """The split that was asked for, or else `test`, or the only one.

    Args:
        splits: those that are not trained on, without the hold-out.
        asked: by --split.

    Raises:
        StageError: there is none, or which one is meant cannot be told.
    """
    if asked is not None and asked not in splits:
        raise StageError(f"--split {asked}: there is no such split to submit; there are: {', '.join(splits) or 'none'}")
    if asked is not None or "test" in splits:
        return asked or "test"
    if not splits:
        raise StageError("there is no split to submit: ingest one, for example with --raw test=DIR_OR_GLOB")
    if len(splits) > 1:
        raise StageError(f"which split is to be submitted? Choose --split from: {', '.join(splits)}")
    return splits[0]
