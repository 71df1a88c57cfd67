"""Many files from a source to their places: in parallel, resumed, verified, tried again, and what is missing told."""

import dataclasses
import errno
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from pipeline.transfer.checksum import checksums_of
from pipeline.transfer.ledger import Ledger
from pipeline.transfer.part import Part
from pipeline.transfer.retrying import RetryPolicy, Stopped
from pipeline.transfer.source import Measuring, Refused, Remote, Source, Unavailable

R = TypeVar("R")


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


class Fetch:
    """Transfers from a source, several at a time.

    Args:
        workers: transfers at a time.
        retry_policy: how often and how soon one is tried again.
        ledger: learns what was verified.
    """

    def __init__(self, source: Source, ledger: Ledger, workers: int, retry_policy: RetryPolicy):
        self._source = source
        self._ledger = ledger
        self._workers = workers
        self._retry_policy = retry_policy
        self._turns = threading.Semaphore(workers)
        self._stopping = threading.Event()
        self._lock = threading.Lock()

    def measured(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """With the sizes that the source can tell beforehand; what it can't tell stays as it is."""
        unknown = [one for one in wanted if one.size is None]
        if not unknown or not isinstance(self._source, Measuring):
            return list(wanted)
        found: dict[Path, Wanted] = {one.path: one for one in wanted}
        retry_policy = dataclasses.replace(self._retry_policy, attempts=min(3, self._retry_policy.attempts))

        def measure(one: Wanted) -> None:
            with self._turns:
                file = retry_policy.call(lambda: self._source.measure(one.file), self._stopping)
            size = file.size
            if file.is_verifiable():
                file = dataclasses.replace(file, size=None)
            found[one.path] = Wanted(file, one.path, size)

        with tqdm(total=len(unknown), desc="sizes", unit=" files") as bar:
            for _, _ in self._each(measure, unknown):
                bar.update()
        return list(found.values())

    def bring(self, wanted: Sequence[Wanted], there: int = 0) -> dict[Path, str]:
        """Make every file be there, verified; returns why those that are not, aren't. `there`: bytes not to transfer.

        A fault of one file leaves the others alone; a full disk ends all.
        """
        missing: dict[Path, str] = {}
        total = there + sum(one.size or 0 for one in wanted)
        with tqdm(total=total, initial=there, desc="download", unit="B", unit_scale=True, unit_divisor=1000) as bar:
            for one, fault in self._each(lambda one: self._bring(one, bar), wanted):
                if fault is None:
                    continue
                missing[one.path] = _reason(fault)
                if _is_full(fault):
                    self._stopping.set()
                if not isinstance(fault, Stopped):
                    with self._lock:
                        bar.write(f"failed: {one.path}: {missing[one.path]}", file=sys.stderr)
        return {one.path: missing[one.path] for one in wanted if one.path in missing}

    def _each(
        self, action: Callable[[Wanted], None], wanted: Sequence[Wanted]
    ) -> Iterator[tuple[Wanted, Exception | None]]:
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

    def _bring(self, wanted: Wanted, bar: tqdm) -> None:
        def told(count: int) -> None:
            if self._stopping.is_set():
                raise Stopped
            with self._lock:
                bar.update(count)

        with self._turns:
            part = self._receive(wanted, bar, told)
        if part:
            part.take_name()
            self._ledger.record(wanted.path, part.checksums)

    def _receive(self, wanted: Wanted, bar: tqdm, told: Callable[[int], None]) -> Part | None:
        """All bytes of a file, verified; None where it is there already."""
        if self._stopping.is_set():
            raise Stopped
        if wanted.is_checkable():
            checksums = checksums_of(wanted.path, told)
            if (fault := checksums.fault(wanted.file)) is None:
                self._ledger.record(wanted.path, checksums)
                return None
            told(-checksums.size)
            with self._lock:
                bar.write(f"{wanted.path} is damaged ({fault}): it is fetched again", file=sys.stderr)
        part = Part(wanted.path, wanted.file.is_verifiable(), told)
        try:
            self._retry_policy.call(
                lambda: self._attempt(wanted, part, bar), self._stopping, reached=lambda: part.furthest
            )
        except BaseException:
            part.close()
            raise
        return part

    def _attempt(self, wanted: Wanted, part: Part, bar: tqdm) -> None:
        """Read on from what there is, to the end, and verify it."""
        file = wanted.file
        if file.is_verifiable() and not part.checksums.fault(file):
            return
        if file.size is not None and part.size >= file.size:
            part.begin_anew()
        with self._source.open(file, part.size) as body:
            if body.start not in (0, part.size):
                raise Unavailable(f"{file.name}: bytes from {part.size} on were asked for, not from {body.start}")
            if body.start != part.size:
                part.begin_anew()
            whole = dataclasses.replace(file, size=body.size if file.size is None else file.size)
            if whole.size is None and not file.is_verifiable():
                raise Refused(f"{file.name}: neither its size nor a checksum is known, so that it cannot be verified")
            if wanted.size is None and body.size is not None:
                with self._lock:
                    bar.total = max(bar.total, bar.n + body.size - part.size)
            for chunk in body.chunks:
                part.write(chunk)
                if whole.size is not None and part.size > whole.size:
                    break
            if whole.size is not None and part.size < whole.size:
                raise Unavailable(f"{file.name} broke off after {part.size} of {whole.size} bytes")
            # Inside the block, so that the source learns of wrong bytes.
            if fault := part.checksums.fault(whole):
                part.begin_anew()
                raise Unavailable(f"{file.name} has wrong bytes: {fault}")


def _is_full(fault: Exception) -> bool:
    return isinstance(fault, OSError) and fault.errno in (errno.ENOSPC, errno.EDQUOT)


def _reason(fault: Exception) -> str:
    if isinstance(fault, Stopped):
        return "not transferred, as the transfers were ended"
    if _is_full(fault):
        return f"the disk is full ({fault.strerror}); make room and run the same command again"
    return f"{fault.strerror}: {fault.filename}" if isinstance(fault, OSError) and fault.filename else str(fault)
