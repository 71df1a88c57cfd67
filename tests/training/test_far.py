"""Independent trainings on a cluster: what they are called with, what is printed of them, and what a fault ends."""

import pytest

from pipeline.artifacts.locks import Busy
from pipeline.cli import running
from pipeline.config.errors import StageError
from pipeline.training.far import train_far


class Here:
    """A cluster of this process."""

    def map(self, function, items):
        return map(function, items)


def test_each_training_is_called_and_what_it_prints_is_printed(monkeypatch, capsys):
    called = []

    def train(name: str, arguments: list[str]) -> None:
        called.append(arguments)
        print(f"{name} {arguments[1]}")

    monkeypatch.setattr(running, "call_stage", train)
    train_far(Here(), [["--fold", "1", "--engine", "ray"], ["--fold", "2"]])
    assert called == [
        ["--fold", "1", "--engine", "ray", "--engine", "processes"],
        ["--fold", "2", "--engine", "processes"],
    ]
    assert capsys.readouterr().out == "train 1\ntrain 2\n"


def test_the_lock_of_a_lost_node_is_waited_for(monkeypatch, capsys):
    faults = [Busy("at work"), Busy("at work")]

    def train(name: str, arguments: list[str]) -> None:
        print("begun")
        if faults:
            raise faults.pop()

    monkeypatch.setattr(running, "call_stage", train)
    monkeypatch.setattr(running.time, "sleep", lambda _: None)
    train_far(Here(), [[]])
    assert capsys.readouterr().out == "begun\n"
    faults.append(StageError("no such index"))
    with pytest.raises(StageError, match="no such index"):
        train_far(Here(), [[]])
    monkeypatch.setattr(running, "_LOCKS_LAST", -1.0)
    faults.append(Busy("at work"))
    with pytest.raises(Busy):
        train_far(Here(), [[]])
