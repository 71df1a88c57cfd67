"""Progress bars as a terminal and as a log shows them."""

import io
import sys

import pytest

from pipeline.runtime import progress
from pipeline.runtime.output import shown_output


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time, which does not pass by itself."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_has_one_line_of_a_bar(capsys):
    with progress.progress_bar(total=1000, desc="infer", unit=" videos") as bar:
        for _ in range(1000):
            bar.update()
            bar.set_postfix_str("loss 1")
            bar.set_description("infer test")
    shown = capsys.readouterr().err
    (line,) = shown.splitlines()
    assert line.startswith("infer test: 100%") and "1000/1000" in line and "\r" not in shown


def test_a_long_bar_has_a_line_a_minute(clock, capsys):
    with progress.progress_bar(total=10, desc="train") as bar:
        for _ in range(9):
            clock[0] += 30
            bar.update()
            bar.refresh()
    lines = capsys.readouterr().err.splitlines()
    assert ["9/10" in line for line in lines] == [False] * 4 + [True]
    assert "2/10" in lines[0] and "4/10" in lines[1]


def test_a_bar_that_is_to_vanish_leaves_nothing_in_a_log(capsys):
    assert list(progress.progress_bar(range(3), leave=False)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_lines_beside_a_bar_are_printed_as_they_are(capsys):
    with progress.progress_bar(total=1) as bar:
        bar.write("step 1")
    shown = capsys.readouterr()
    assert shown.out == "step 1\n" and "\r" not in shown.err


def test_reading_has_a_bar_of_bytes(capsys):
    with progress.progress_of_reading(io.BytesIO(bytes(3000)), 3000, desc="send") as stream:
        assert stream.read(1000) and stream.read()
    shown = capsys.readouterr().err
    assert shown.startswith("send: 100%") and "2.93k/2.93k" in shown


def test_a_terminal_has_a_bar_that_is_drawn_in_place(monkeypatch):
    monkeypatch.setattr("sys.stderr", out := Terminal())
    with progress.progress_bar(total=2, desc="infer") as bar:
        bar.update(2)
    assert out.getvalue().startswith("\rinfer:   0%") and out.getvalue().count("\n") == 1


def test_a_terminal_has_a_bar_inside_a_stage_too(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with shown_output(), progress.progress_bar(total=2, desc="train") as bar:
        bar.update(2)
    assert terminal.getvalue().count("\r") >= 2
