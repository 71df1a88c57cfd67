"""What a benchmark measured: rounds that are interleaved, a table to read, and JSON to compare with later."""

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.machine import machine


@dataclass(frozen=True)
class Figure:
    """One number, of one side of a comparison."""

    case: str
    """What was done."""
    who: str
    """Who did it: ours, a peer, or a limit of the machine."""
    value: float
    unit: str
    """More is better where it ends in `/s` or is `share` or `times`, less is otherwise."""


@dataclass(frozen=True)
class Common:
    """Flags of every benchmark."""

    rounds: int = 5
    """Interleaved rounds; the medians count."""
    json: Path | None = None
    """Write the figures here too; `benchmarks.run` compares such files."""


def interleaved(rounds: int, sides: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each side; every round runs all of them once, in turn."""
    seconds: dict[str, list[float]] = {who: [] for who in sides}
    for number in range(rounds):
        for who, run in sides.items():
            _tell(f"round {number + 1} of {rounds}: {who}")
            began = time.perf_counter()
            run()
            seconds[who].append(time.perf_counter() - began)
    _tell("")
    return {who: statistics.median(taken) for who, taken in seconds.items()}


def show(figures: Sequence[Figure], path: Path | None, about: str) -> None:
    """Print the figures as a table, a line a case and a column a side, and the machine; write them where asked to."""
    units = {figure.case: figure.unit for figure in figures}
    sides = list(dict.fromkeys(figure.who for figure in figures))
    values = {(figure.case, figure.who): figure.value for figure in figures}
    print("\n".join([f"| {about} | " + " | ".join(sides) + " |", "| --- |" + " --- |" * len(sides)]))
    for case, unit in units.items():
        cells = [_cell(values.get((case, who)), unit) for who in sides]
        print(f"| {case} | " + " | ".join(cells) + " |")
    print(f"\n{machine()}")
    save(figures, path, about)


def save(figures: Sequence[Figure], path: Path | None, about: str) -> None:
    """Write the figures where asked to."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        found = {"about": about, "machine": machine(), "figures": [asdict(figure) for figure in figures]}
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _cell(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit == "share":
        return f"{value:.0%}"
    digits = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{digits} {unit}"


def _tell(text: str) -> None:
    """What is going on, on one line of a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
