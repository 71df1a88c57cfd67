"""A small file, such as a plan or a table of class names, read into memory."""

from collections.abc import Callable
from typing import TypeVar

from pipeline.transfer.checksum import Checksums
from pipeline.transfer.retrying import RetryPolicy
from pipeline.transfer.source import Refused, Remote, Source, Unavailable

T = TypeVar("T")

LARGEST = 64 << 20
"""Bytes: a plan of all shards has 230 kB."""


def read_small(source: Source, file: Remote, retry_policy: RetryPolicy, parse: Callable[[bytes], T] = bytes) -> T:
    """All its bytes, or what `parse` makes of them; raises Unavailable when the policy gives it up, and Refused.

    Where `parse` raises one of these, the next mirror is asked, as for any other fault.
    """

    def read() -> T:
        checksums, pieces = Checksums(), []
        with source.open(file) as body:
            for chunk in body.chunks:
                checksums.update(chunk)
                pieces.append(chunk)
                if checksums.size > LARGEST:
                    raise Refused(f"{file.name} has more than {LARGEST >> 20} MiB")
            if body.size not in (None, checksums.size):
                raise Unavailable(f"{file.name} broke off after {checksums.size} of {body.size} bytes")
            if fault := checksums.fault(file):
                raise Unavailable(f"{file.name} has wrong bytes: {fault}")
            return parse(b"".join(pieces))

    return retry_policy.call(read)
