"""What is there of a dataset and what is to come; the transfers, within the space there is; the list of the missing."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.artifacts.files import atomic_file
from pipeline.artifacts.locks import locked
from pipeline.config.errors import StageError
from pipeline.transfer.fetch import Fetch, Wanted
from pipeline.transfer.ledger import Ledger
from pipeline.transfer.part import part_of
from pipeline.transfer.retrying import RetryPolicy
from pipeline.transfer.source import Source

MISSING = "download-missing.txt"
"""In a dataset's folder: each file that was asked for and is not there, and why. No such file: nothing is missing."""
LEDGER = "download.jsonl"
"""Beside it: what was verified."""


@dataclass(frozen=True)
class Survey:
    """What is there already, and what is not."""

    complete: list[Wanted]
    """Verified before, unchanged since."""
    rest: list[Wanted]

    def bytes_to_come(self) -> int:
        """At most, as far as sizes are known, on top of what is on the disk."""
        return sum(
            max(0, wanted.size - _size(part_of(wanted.path)))
            for wanted in self.rest
            if wanted.size is not None and not wanted.is_checkable()
        )

    def of_unknown_size(self) -> int:
        return sum(wanted.size is None for wanted in self.rest)


def survey(wanted: Sequence[Wanted], ledger: Ledger, verify: bool = False) -> Survey:
    """Compare what is wanted with what was verified before; `verify` reads all files again.

    Raises:
        StageError: a verified file is there whose content is another one than is wanted.
    """
    complete, rest = [], []
    for one in wanted:
        entry = ledger.entry(one.path)
        if entry and not entry.agrees(one.file):
            raise StageError(
                f"{one.path} is there, was verified, and isn't what the source has under this name; "
                "move it away, or choose another --data-dir"
            )
        if entry:  # its checksums may tell more than the source does
            known = replace(one.file, size=entry.size, md5=entry.md5, crc32c=entry.crc32c)
            one = Wanted(known, one.path)
        (complete if entry and not verify else rest).append(one)
    return Survey(complete, rest)


def deliver(
    source: Source, wanted: Sequence[Wanted], home: Path, workers: int, retry_policy: RetryPolicy, verify: bool
) -> Survey:
    """Make everything that is wanted be there, below `home`; returns what was there before, and what was not.

    Raises:
        StageError: with what is missing, which is listed in MISSING too; or there is too little space, and nothing was
            transferred.
    """
    with locked(home):
        home.mkdir(parents=True, exist_ok=True)
        ledger = Ledger(home / LEDGER, home)
        fetch = Fetch(source, ledger, workers, retry_policy)
        found = survey(wanted, ledger, verify)
        found = replace(found, rest=fetch.measured(found.rest))
        check_space(found.bytes_to_come(), home)
        # Written beforehand: after a kill, or on a full disk, there is a list nevertheless.
        _list_missing(home / MISSING, {one.path: "not transferred yet" for one in found.rest})
        missing = fetch.bring(found.rest, sum(one.size or 0 for one in found.complete))
        try:
            _list_missing(home / MISSING, missing)
        except OSError as error:
            print(f"{home / MISSING} lists what was missing before, and cannot be written anew: {error.strerror}")
    if missing:
        first = [f"  {path}: {reason}" for path, reason in list(missing.items())[:20]]
        more = [f"  and {len(missing) - 20} more"] if len(missing) > 20 else []
        raise StageError(
            "\n".join(
                [f"{len(missing)} of {len(wanted)} files are missing (listed in {home / MISSING}):", *first, *more]
            )
            + "\nthe same command again transfers only these"
        )
    return found


def forecast(
    source: Source, wanted: Sequence[Wanted], home: Path, workers: int, retry_policy: RetryPolicy, rate: float
) -> str:
    """Files, bytes, free disk, and the time at `rate` MB/s, in words. Nothing is written."""
    ledger = Ledger(home / LEDGER, home)
    found = survey(wanted, ledger)
    found = replace(found, rest=Fetch(source, ledger, workers, retry_policy).measured(found.rest))
    total = sum(one.size or 0 for one in (*found.complete, *found.rest))
    to_come, free = found.bytes_to_come(), free_space(home)
    minutes = to_come / (rate * 1e6) / 60
    unknown = f" and {count} files of unknown size" if (count := found.of_unknown_size()) else ""
    return (
        f"{len(wanted)} files, {total / 1e9:.3f} GB{unknown}; {len(found.complete)} are there\n"
        f"to come: {to_come / 1e9:.3f} GB{unknown}; free at {home}: {free / 1e9:.3f} GB"
        + (" (too little)" if to_come > free else "")
        + f"\nat {rate:g} MB/s: {f'{minutes / 60:.1f} hours' if minutes > 90 else f'{minutes:.1f} minutes'}"
    )


def check_space(needed: int, folder: Path) -> None:
    """Raises StageError where the disk of a folder, which need not be there yet, has less than the bytes needed."""
    if needed > (free := free_space(folder)):
        raise StageError(
            f"too little disk: {needed / 1e9:.3f} GB are to come, and {folder} has {free / 1e9:.3f} GB free. "
            "Make room, choose a smaller --fraction, or another --data-dir; nothing was transferred"
        )


def free_space(folder: Path) -> int:
    """Bytes."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _list_missing(path: Path, missing: dict[Path, str]) -> None:
    if not missing:
        path.unlink(missing_ok=True)
        return
    with atomic_file(path) as temporary:
        lines = [f"{file}\t{' '.join(reason.split())}\n" for file, reason in missing.items()]
        temporary.write_text("".join(lines), encoding="utf-8")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
