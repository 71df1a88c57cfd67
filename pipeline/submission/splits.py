"""Choose the split of a dataset to submit."""

from collections.abc import Sequence

from pipeline.config.errors import StageError


def split_to_submit(splits: Sequence[str], asked: str | None = None) -> str:
    """Return the split that was asked for, or else `test`, or else the only one.

    Args:
        splits: the splits that are not trained on, without the hold-out.
        asked: the value of --split.

    Raises:
        StageError: there is no such split, or several and none was asked for.
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
