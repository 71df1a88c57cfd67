"""What the machine refuses a stage, in one line."""

import errno
import os
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from pipeline.cli.failures import explain
from pipeline.cli.running import run_stage
from pipeline.config.errors import StageError

ROOM = "make room, the same command goes on"
AGAIN = ", the same command goes on"
KILLED = "a process of --workers was killed, most likely since memory ran out: lower --workers"
BATCH = "--training.batch-size (--training.accumulate keeps the sum of a step)"


def refused(number: int) -> OSError:
    return OSError(number, os.strerror(number), "/runs/.a.x0123abcd.part")


@pytest.mark.parametrize(
    "error, stage, line",
    [
        (refused(errno.ENOSPC), "train", "/runs/a: No space left on device; " + ROOM),
        (RuntimeError("No space left on device,\n buf = 1"), "train", "No space left on device, buf = 1; " + ROOM),
        (refused(errno.EDQUOT), "train", "/runs/a: Disk quota exceeded; " + ROOM),
        (
            refused(errno.EROFS),
            "train",
            "/runs/a: Read-only file system; choose another folder (--data-dir, --runs-dir, --submissions-dir, "
            "--reports-dir)",
        ),
        (
            refused(errno.EMFILE),
            "infer",
            "/runs/a: Too many open files; allow more open files (ulimit -n), the same command goes on",
        ),
        (
            MemoryError(),
            "train",
            f"memory ran out: lower {BATCH} or --sampling.frames or --inference.batch-size, the same command goes on",
        ),
        (MemoryError(), "infer", "memory ran out: lower --inference.batch-size, the same command goes on"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "ingest", "memory ran out: lower --workers" + AGAIN),
        (MemoryError(), "evaluate", "memory ran out: end other programs, or take a machine with more" + AGAIN),
        (BrokenProcessPool(), "ingest", KILLED),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "train", None),
        (StageError("No space left on device"), "train", None),
        (ValueError("a bug"), "train", None),
    ],
)
def test_lines(error, stage, line):
    assert explain(error, stage) == line


def test_a_stage_ends_with_the_line(monkeypatch, capsys):
    def main():
        raise refused(errno.EIO)

    monkeypatch.setattr(sys, "argv", ["/project/pipeline/train.py"])
    with pytest.raises(SystemExit) as end:
        run_stage(main)
    assert end.value.code == 1
    told = "/runs/a: Input/output error; see to the disk or its connection, the same command goes on"
    assert capsys.readouterr().err == f"error: {told}\n"


def test_an_output_that_takes_no_more(monkeypatch, capsys):
    with Path("/dev/full").open("w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        with pytest.raises(SystemExit) as end:
            run_stage(lambda: print("a table"))
        assert end.value.code == 1
    assert capsys.readouterr().err == f"error: standard output: No space left on device; {ROOM}\n"


def test_a_bug_is_shown_as_one():
    with pytest.raises(ZeroDivisionError):
        run_stage(lambda: 1 / 0)
