"""Download many files: resumed, verified, within the free disk space."""

import contextlib
import dataclasses
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from pipeline.artifacts.locks import locked
from pipeline.config.errors import StageError
from pipeline.config.wording import counted, first_lines
from pipeline.inputs.records.file_kinds import TFRECORDS, kind_of_file
from pipeline.runtime.progress import progress_bar
from pipeline.transfer.missing import MISSING, is_full, list_missing, reason_of
from pipeline.transfer.source import Refused, Remote, RetryPolicy, Source, Stopped, Unavailable
from pipeline.transfer.verified import Ledger, PartialFile, checksums_of, difference, partial_path


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A file of a source, and the path to download it to."""

    file: Remote
    path: Path
    measured: int | None = None
    """Bytes, as a server gives them; only a checksum is relied on."""

    @property
    def size(self) -> int | None:
        """Bytes, if known before the transfer."""
        return self.measured if self.file.size is None else self.file.size

    def is_checkable(self) -> bool:
        """Return whether the file is there and can be verified by reading it."""
        return self.file.is_verifiable() and self.path.is_file() and not self.path.is_symlink()

    def bytes_to_come(self) -> int:
        """Return the most bytes still to be transferred; 0 if the size is unknown."""
        part = partial_path(self.path)
        there = part.stat().st_size if part.exists() else 0
        return 0 if self.size is None or self.is_checkable() else max(0, self.size - there)


class Fetch:
    """Transfers files from a source to paths below a dataset's folder.

    Args:
        home: the folder; it holds MISSING, and the record of what was verified.
        workers: the number of transfers at a time.
        retry_policy: how often and how soon a transfer is tried again.
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
        """Return the files that were verified before and are unchanged, and the others with their sizes if known.

        Args:
            verify: read all files again, whatever was verified before.

        Raises:
            StageError: a file is there and was verified, but the source has other content under its name.
        """
        complete, rest = [], []
        for one in wanted:
            known = self._ledger.verified(one.path)
            if known and difference(one.file, known):
                raise StageError(
                    f"{one.path} is there and was verified, but the source has other content under this name; "
                    "move it away, or choose another --data-dir"
                )
            if known:  # the record may hold checksums that the source does not give
                one = Wanted(dataclasses.replace(known, name=one.file.name), one.path)
            (complete if known and not verify else rest).append(one)
        return complete, self._measured(rest)

    def forecast(self, wanted: Sequence[Wanted], rate: float) -> str:
        """Describe files, bytes, free disk and the time at `rate` MB/s; write nothing.

        Raises:
            StageError: as `survey`.
            Unavailable: the source does not answer.
        """
        if unknown := next((one for one in wanted if one.size is None), None):
            with contextlib.suppress(Refused):  # it answers, and cannot tell
                self._retry_policy.call(lambda: self._source.measure(unknown.file))
        complete, rest = self.survey(wanted)
        total = sum(one.size or 0 for one in (*complete, *rest))
        to_come, free = sum(one.bytes_to_come() for one in rest), free_space(self._home)
        minutes = to_come / (rate * 1e6) / 60
        unknown = (
            f" and {counted(count, 'file')} of unknown size" if (count := sum(one.size is None for one in rest)) else ""
        )
        return (
            f"{counted(len(wanted), 'file')}, {total / 1e9:.3f} GB{unknown}; {len(complete)} are there\n"
            f"to come: {to_come / 1e9:.3f} GB{unknown}; free at {self._home}: {free / 1e9:.3f} GB"
            + (" (too little)" if to_come > free else "")
            + f"\nat {rate:g} MB/s: {f'{minutes / 60:.1f} hours' if minutes > 90 else f'{minutes:.1f} minutes'}"
        )

    def deliver(self, wanted: Sequence[Wanted], verify: bool) -> int:
        """Download everything that is wanted; return how many files were there before.

        Raises:
            StageError: files are missing, which MISSING lists too; or the disk has too little space, and nothing was
                transferred; or as `survey`.
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
            # Written first, so that there is a list even after a kill or on a full disk.
            listed = self._home / MISSING
            list_missing(listed, {one.path: "not transferred yet" for one in rest})
            missing = self.transfer(rest, sum(one.size or 0 for one in complete))
            try:
                list_missing(listed, missing)
            except OSError as error:
                print(f"{listed} lists what was missing before, and cannot be written anew: {error.strerror}")
        if missing:
            lines = first_lines([f"  {path}: {reason}" for path, reason in missing.items()], 20, "  and {} more")
            lines.append("the same command again transfers only these")
            raise StageError(
                "\n".join([f"missing: {len(missing)} of {counted(len(wanted), 'file')} (listed in {listed}):", *lines])
            )
        return len(complete)

    def transfer(self, wanted: Sequence[Wanted], there: int = 0) -> dict[Path, str]:
        """Transfer and verify files; return why each missing one is missing. `there`: bytes that need no transfer.

        A fault of one file does not stop the others; a full disk stops all.
        """
        missing: dict[Path, str] = {}
        total = there + sum(one.size or 0 for one in wanted)
        with progress_bar(
            total=total, initial=there, desc="download", unit="B", unit_scale=True, unit_divisor=1000
        ) as bar:
            for one, fault in self._each(lambda one: self._transfer(one, bar), wanted):
                if fault is None:
                    continue
                missing[one.path] = reason_of(fault)
                if is_full(fault):
                    self._stopping.set()
                if not isinstance(fault, Stopped):
                    bar.write(f"failed: {one.path}: {missing[one.path]}", file=sys.stderr)
        return {one.path: missing[one.path] for one in wanted if one.path in missing}

    def _measured(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """Return the files with the sizes that the source can tell before the transfer."""
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

        with progress_bar(total=len(unknown), desc="sizes", unit=" files") as bar:
            for _ in self._each(measure, unknown):
                bar.update()
        return list(found.values())

    def _each(
        self, action: Callable[[Wanted], None], wanted: Sequence[Wanted]
    ) -> Iterator[tuple[Wanted, BaseException | None]]:
        """Run an action on each file, and yield each with its error or None, as they end."""
        # More threads than transfers: one file can be transferred while another is synced to the disk.
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
                if not wanted.file.is_verifiable():
                    _check_kind(wanted.path)
            except BaseException:
                part.close()
                raise
        part.take_name()
        self._ledger.record(wanted.path, part.checksums)


def _check_kind(path: Path) -> None:
    """Raise Refused if what came for a shard is of another kind: without a checksum its size alone was verified."""
    if path.suffix != ".tfrecord":
        return
    kind = kind_of_file(partial_path(path))
    if kind and kind.format not in (TFRECORDS.format, "empty"):
        raise Refused(f"what came is {kind.name}, not TFRecords: open the address in a browser to see why")


def free_space(folder: Path) -> int:
    """Return the free bytes of the disk that holds a folder, which need not exist yet."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
