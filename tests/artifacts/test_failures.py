"""What the system refused, whichever library told it."""

import errno
import os
from pathlib import Path

import pytest

from pipeline.artifacts.failures import REMEDIES, about, errno_of, is_refusal, path_of
from pipeline.config.errors import StageError

FULL = "No space left on device"


def of_library(module: str, text: str) -> Exception:
    return type("Error", (Exception,), {"__module__": module})(text)


@pytest.mark.parametrize(
    "error, number, path",
    [
        (OSError(errno.ENOSPC, FULL, "/runs/.a.json.x0123abcd.part"), errno.ENOSPC, "/runs/a.json"),
        (OSError(errno.ENOSPC, FULL), errno.ENOSPC, ""),
        (OSError(f"Error writing bytes to file. Detail: [errno 28] {FULL}"), errno.ENOSPC, ""),
        (of_library("pyarrow.lib", f"Failed to open local file '/runs/a': {FULL}"), errno.ENOSPC, "/runs/a"),
        (of_library("tensorflow.python.framework.errors_impl", f"/runs/tb/a; {FULL}"), errno.ENOSPC, "/runs/tb/a"),
        (RuntimeError(f"Can't write (errno = 28, error message = '{FULL}', buf = 0x1)"), errno.ENOSPC, ""),
        (PermissionError(errno.EACCES, "Permission denied", b"/runs"), errno.EACCES, "/runs"),
        (StageError(f"{FULL} is what the site says"), None, ""),
        (of_library("google.api_core.exceptions", "Permission denied"), None, ""),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/a"), None, "/a"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), None, ""),
        (KeyboardInterrupt(), None, ""),
        (ValueError("a bug"), None, ""),
    ],
)
def test_number_and_path(error, number, path):
    assert errno_of(error) == number and path_of(error) == path


def test_an_error_keeps_the_path_that_it_names():
    with pytest.raises(OSError, match="Too many open files") as raised, about(Path("/runs/a")):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/raw/b")
    assert raised.value.filename == "/raw/b"
    with pytest.raises(OSError, match="Too many open files") as raised, about(Path("/runs/a")):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    assert raised.value.filename == "/runs/a"
    with pytest.raises(ZeroDivisionError), about(Path("/runs/a")):
        raise ZeroDivisionError


def test_what_cannot_be_read_is_not_damaged():
    assert all(is_refusal(OSError(number, "")) for number in (errno.EACCES, errno.EIO, errno.EMFILE))
    assert not any(is_refusal(error) for error in (OSError("no Parquet"), ValueError(), OSError(errno.ENOENT, "")))


def test_every_remedy_is_one_line():
    assert all(remedy and "\n" not in remedy for remedy in REMEDIES.values())
