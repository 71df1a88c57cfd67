"""What the machine refuses a stage, in one line."""

import errno
import os
import sys
from concurrent.futures.process import BrokenProcessPool

import pytest

from pipeline.cli.failures import explain
from pipeline.cli.running import run_stage
from pipeline.config.errors import StageError

AGAIN = ", the same command goes on"
KILLED = "a process of --workers was killed, most likely since memory ran out: lower --workers"
BATCH = "--training.batch-size (--training.accumulate keeps the sum of a step)"


def refused(number: int) -> OSError:
    return OSError(number, os.strerror(number), "/runs/.a.x0123abcd.part")


@pytest.mark.parametrize(
    "error, stage, line",
    [
        (refused(errno.ENOSPC), "train", "/runs/a: No space left on device; make room, the same command goes on"),
        (refused(errno.EDQUOT), "train", "/runs/a: Disk quota exceeded; make room, the same command goes on"),
        (
            refused(errno.EROFS),
            "train",
            "/runs/a: Read-only file system; choose another folder (--data-dir, --runs-dir, --submissions-dir, "
            "--output; $PIPELINE_REPORTS)",
        ),
        (
            refused(errno.EMFILE),
            "infer",
            "/runs/a: Too many open files; allow more open files (ulimit -n) or lower --workers, the same command goes "
            "on",
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


def test_a_bug_is_shown_as_one():
    with pytest.raises(ZeroDivisionError):
        run_stage(lambda: 1 / 0)
