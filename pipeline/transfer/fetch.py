"""Many files to their places: resumed, verified, within the space there is, and what is missing told."""

import dataclasses
import errno
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from pipeline.artifacts.files import atomic_file
from pipeline.artifacts.locks import locked
from pipeline.config.errors import StageError
from pipeline.runtime.output import shown
from pipeline.transfer.source import Refused, Remote, RetryPolicy, Source, Stopped, Unavailable
from pipeline.transfer.verified import Ledger, PartialFile, checksums_of, difference, partial_path

MISSING = "download-missing.txt"
"""In a dataset's folder: each file that was asked for and is not there, and why. No such file: nothing is missing."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A file of a source, and where it is to be."""

    file: Remote
    path: Path
    measured: int | None = None
    """Bytes, where the source has no list of sizes and a server's word for it: what a checksum says counts more."""

    @property
    def size(self) -> int | None:
        """Bytes, as far as is known before they come."""
        return self.measured if self.file.size is None else self.file.size

    def is_checkable(self) -> bool:
        """Whether a file is there that only has to be read to know whether it is right."""
        return self.file.is_verifiable() and self.path.is_file() and not self.path.is_symlink()

    def bytes_to_come(self) -> int:
        """At most, as far as the size is known, on top of what is on the disk."""
        part = partial_path(self.path)
        there = part.stat().st_size if part.exists() else 0
        return 0 if self.size is None or self.is_checkable() else max(0, self.size - there)


class Fetch:
    """Transfers of files from a source to places below a dataset's folder.

    Args:
        home: the folder; it has the list of the missing, and the record of what was verified.
        workers: transfers at a time.
        retry_policy: how often and how soon one is tried again.
    """

    def __init__(self, source: Source, home: Path, workers: int, retry_policy: RetryPolicy):
        self._source = source
        self._home = home
        self._ledger = Ledger(home)
        self._workers = workers
        self._retry_policy = retry_policy
        self._turns = threading.Semaphore(workers)
        self._stopping = threading.Event()

    def survey(self, wanted: Sequence[Wanted], verify: bool = False) -> tuple[list[Wanted], list[Wanted]]:
        """Those files that were verified before and are unchanged since, and the rest, with sizes as far as can be.

        Args:
            verify: all are to be read again.

        Raises:
            StageError: a verified file is there whose content is another one than is wanted.
        """
        complete, rest = [], []
        for one in wanted:
            known = self._ledger.verified(one.path)
            if known and difference(one.file, known):
                raise StageError(
                    f"{one.path} is there, was verified, and isn't what the source has under this name; "
                    "move it away, or choose another --data-dir"
                )
            if known:  # its checksums may tell more than the source does
                one = Wanted(dataclasses.replace(known, name=one.file.name), one.path)
            (complete if known and not verify else rest).append(one)
        return complete, self._measured(rest)

    def forecast(self, wanted: Sequence[Wanted], rate: float) -> str:
        """Files, bytes, free disk, and the time at `rate` MB/s, in words; nothing is written.

        Raises:
            StageError: as `survey`.
        """
        complete, rest = self.survey(wanted)
        total = sum(one.size or 0 for one in (*complete, *rest))
        to_come, free = sum(one.bytes_to_come() for one in rest), free_space(self._home)
        minutes = to_come / (rate * 1e6) / 60
        unknown = f" and {count} files of unknown size" if (count := sum(one.size is None for one in rest)) else ""
        return (
            f"{len(wanted)} files, {total / 1e9:.3f} GB{unknown}; {len(complete)} are there\n"
            f"to come: {to_come / 1e9:.3f} GB{unknown}; free at {self._home}: {free / 1e9:.3f} GB"
            + (" (too little)" if to_come > free else "")
            + f"\nat {rate:g} MB/s: {f'{minutes / 60:.1f} hours' if minutes > 90 else f'{minutes:.1f} minutes'}"
        )

    def deliver(self, wanted: Sequence[Wanted], verify: bool) -> int:
        """Make everything that is wanted be there; returns how many files were before.

        Raises:
            StageError: with what is missing, which is listed in MISSING too; or there is too little space, and nothing
                was transferred; or as `survey`.
        """
        with locked(self._home):
            self._home.mkdir(parents=True, exist_ok=True)
            complete, rest = self.survey(wanted, verify)
            to_come, free = sum(one.bytes_to_come() for one in rest), free_space(self._home)
            if to_come > free:
                raise StageError(
                    f"too little disk: {to_come / 1e9:.3f} GB are to come, and {self._home} has {free / 1e9:.3f} GB "
                    "free. Make room, choose a smaller --fraction, or another --data-dir; nothing was transferred"
                )
            # Written beforehand: after a kill, or on a full disk, there is a list nevertheless.
            listed = self._home / MISSING
            _list_missing(listed, {one.path: "not transferred yet" for one in rest})
            missing = self.transfer(rest, sum(one.size or 0 for one in complete))
            try:
                _list_missing(listed, missing)
            except OSError as error:
                print(f"{listed} lists what was missing before, and cannot be written anew: {error.strerror}")
        if missing:
            lines = [f"  {path}: {reason}" for path, reason in list(missing.items())[:20]]
            if len(missing) > 20:
                lines.append(f"  and {len(missing) - 20} more")
            lines.append("the same command again transfers only these")
            raise StageError(
                "\n".join([f"{len(missing)} of {len(wanted)} files are missing (listed in {listed}):", *lines])
            )
        return len(complete)

    def transfer(self, wanted: Sequence[Wanted], there: int = 0) -> dict[Path, str]:
        """Make every file be there, verified; returns why those that are not, aren't. `there`: bytes not to transfer.

        A fault of one file leaves the others alone; a full disk ends all.
        """
        missing: dict[Path, str] = {}
        total = there + sum(one.size or 0 for one in wanted)
        with tqdm(total=total, initial=there, desc="download", unit="B", unit_scale=True, unit_divisor=1000) as bar:
            for one, fault in self._each(lambda one: self._transfer(one, bar), wanted):
                if fault is None:
                    continue
                missing[one.path] = _reason(fault)
                if _is_full(fault):
                    self._stopping.set()
                if not isinstance(fault, Stopped):
                    bar.write(f"failed: {one.path}: {missing[one.path]}", file=sys.stderr)
        return {one.path: missing[one.path] for one in wanted if one.path in missing}

    def _measured(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """With the sizes that the source can tell beforehand; what it can't tell stays as it is."""
        unknown = [one for one in wanted if one.size is None]
        if not unknown:
            return list(wanted)
        found = {one.path: one for one in wanted}
        retry_policy = dataclasses.replace(self._retry_policy, attempts=min(3, self._retry_policy.attempts))

        def measure(one: Wanted) -> None:
            with self._turns:
                file = retry_policy.call(lambda: self._source.measure(one.file), self._stopping)
            size = file.size
            if file.is_verifiable():
                file = dataclasses.replace(file, size=None)
            found[one.path] = Wanted(file, one.path, size)

        with tqdm(total=len(unknown), desc="sizes", unit=" files") as bar:
            for _ in self._each(measure, unknown):
                bar.update()
        return list(found.values())

    def _each(
        self, action: Callable[[Wanted], None], wanted: Sequence[Wanted]
    ) -> Iterator[tuple[Wanted, BaseException | None]]:
        """Each with what went wrong, as they end."""
        # More threads than turns: while one file is being written to the disk for good, another one is transferred.
        with ThreadPoolExecutor(2 * self._workers, "transfer") as pool:
            futures: dict[Future[None], Wanted] = {pool.submit(action, one): one for one in wanted}
            try:
                for future in as_completed(futures):
                    fault = future.exception()
                    if fault is not None and not isinstance(fault, (Unavailable, Refused, OSError, Stopped)):
                        raise fault
                    yield futures[future], fault
            except BaseException:
                self._stopping.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _transfer(self, wanted: Wanted, bar: tqdm) -> None:
        def told(count: int) -> None:
            if self._stopping.is_set():
                raise Stopped
            with bar.get_lock():
                bar.update(count)

        def foreseen(count: int) -> None:
            if wanted.size is None:
                with bar.get_lock():
                    bar.total = max(bar.total, bar.n + count)

        with self._turns:
            if self._stopping.is_set():
                raise Stopped
            if wanted.is_checkable():
                checksums = checksums_of(wanted.path, told)
                if (fault := difference(wanted.file, checksums)) is None:
                    self._ledger.record(wanted.path, checksums)
                    return
                told(-checksums.size)
                bar.write(f"{wanted.path} is damaged ({fault}): it is fetched again", file=sys.stderr)
            part = PartialFile(wanted.path, wanted.file.is_verifiable(), told)
            try:
                self._retry_policy.call(
                    lambda: part.fill(self._source, wanted.file, foreseen), self._stopping, lambda: part.furthest
                )
            except BaseException:
                part.close()
                raise
        part.take_name()
        self._ledger.record(wanted.path, part.checksums)


def free_space(folder: Path) -> int:
    """Bytes free on the disk of a folder, which need not be there yet."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _list_missing(path: Path, missing: dict[Path, str]) -> None:
    if not missing:
        path.unlink(missing_ok=True)
        return
    with atomic_file(path) as temporary:
        lines = [shown(f"{file}\t{' '.join(reason.split())}\n") for file, reason in missing.items()]
        temporary.write_text("".join(lines), encoding="utf-8")


def _is_full(fault: BaseException) -> bool:
    return isinstance(fault, OSError) and fault.errno in (errno.ENOSPC, errno.EDQUOT)


def _reason(fault: BaseException) -> str:
    if isinstance(fault, Stopped):
        return "not transferred, as the transfers were ended"
    if _is_full(fault):
        return f"the disk is full ({fault.strerror}); make room and run the same command again"
    return f"{fault.strerror}: {fault.filename}" if isinstance(fault, OSError) and fault.filename else str(fault)
