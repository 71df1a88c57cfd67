"""Log a training run to metrics.jsonl, and the same to TensorBoard."""

import json
import shutil
from pathlib import Path
from typing import Any

from pipeline.artifacts.failures import about
from pipeline.artifacts.files import atomic_file
from pipeline.artifacts.stored_json import parse_json
from pipeline.config.errors import StageError
from pipeline.runtime.output import printable
from pipeline.training.events import EventFile

_NUMBERS = ("step", "loss", "gap")
"""Fields of a record that are plotted."""


class MetricsLog:
    """A file with a JSON object in each line, each with its step.

    When a run resumes, the lines after its step are dropped, and the TensorBoard events are written anew from the lines
    that are kept, so that both always agree.
    """

    def __init__(self, folder: Path, from_step: int):
        self.path = folder / "metrics.jsonl"
        self.records = [record for record in read_log(self.path) if record["step"] <= from_step]
        with atomic_file(self.path) as temporary:  # a full disk leaves the lines that were there
            temporary.write_text("".join(map(_line, self.records)), encoding="utf-8")
        self.events = folder / "tensorboard"
        shutil.rmtree(self.events, ignore_errors=True)
        with about(self.events):
            self._writer = EventFile(self.events)
        for record in self.records:
            self._show(record)

    def add(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        with about(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(_line(record))
        self._show(record)

    def close(self) -> None:
        with about(self.events):
            self._writer.close()

    def _show(self, record: dict[str, Any]) -> None:
        with about(self.events):
            for name, value in record.items():
                if name != "step" and isinstance(value, float):
                    self._writer.add(printable(name), value, record["step"])
            self._writer.flush()


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the records of a metrics.jsonl, by step; an empty list if there is no such file."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = parse_json(line)
        except ValueError:  # only the last line can have been cut short by a kill
            break
        known = record if isinstance(record, dict) else {}
        if "step" not in known or not all(isinstance(known.get(name, 0), int | float) for name in _NUMBERS):
            raise StageError(f"{path} is not what training writes: a line lacks the numbers of a step. Delete it")
        records.append(record)
    return records


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record) + "\n"
