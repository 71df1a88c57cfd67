"""Run benchmarks and store their figures by revision; or compare them with those of an earlier run, as ratios.

    python -m benchmarks.run metrics input                        # some of them; without names: all
    python -m benchmarks.run metrics --compare benchmarks/results/4f2a91c.json

Writes benchmarks/results/<revision>.json. Ratios are for a person to look at: what the machine did beside is in them.
Runs on other machines say nothing about a change.
"""

import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import tyro

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
_NOT_TIMED = {
    "__init__",
    "figures",
    "file_server",
    "input_sides",
    "jaxpr",
    "machine",
    "on_gpu",
    "products",
    "run",
    "stages",
}
BENCHMARKS = tuple(sorted({path.stem for path in (ROOT / "benchmarks").glob("*.py")} - _NOT_TIMED))


@dataclasses.dataclass(frozen=True)
class Flags:
    names: tyro.conf.Positional[tuple[str, ...]] = BENCHMARKS
    """Benchmarks."""
    rounds: int = 5
    compare: Path | None = None
    """Figures of an earlier run: print this run's as ratios to them."""


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    if unknown := set(flags.names) - set(BENCHMARKS):
        raise SystemExit(f"there is no benchmark {min(unknown)}; there are: {', '.join(BENCHMARKS)}")
    before = json.loads(flags.compare.read_text(encoding="utf-8")) if flags.compare else {}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in flags.names:
            print(f"\n== {name}", flush=True)
            path = Path(folder) / f"{name}.json"
            command = [sys.executable, "-m", f"benchmarks.{name}", "--rounds", str(flags.rounds), "--json", str(path)]
            if subprocess.run(command, cwd=ROOT).returncode:
                raise SystemExit(f"{name} failed")
            found[name] = json.loads(path.read_text(encoding="utf-8"))
    path = RESULTS / f"{_revision()}.json"
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(stored | found, indent=1) + "\n", encoding="utf-8")
    print(f"\n{path.relative_to(ROOT)}")
    if flags.compare:
        print("\n".join(compare(before, found)))


def compare(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """A table of what both have measured, its ratios above 1 where it has become better; the worst first."""
    rows = []
    for name in before.keys() & after.keys():
        old = {(figure["case"], figure["who"]): figure for figure in before[name]["figures"]}
        for figure in after[name]["figures"]:
            earlier = old.get((figure["case"], figure["who"]))
            if earlier and earlier["value"] and figure["value"]:
                ratio = figure["value"] / earlier["value"]
                better = ratio if more_is_better(figure["unit"]) else 1 / ratio
                cells = f"{earlier['value']:.4g} | {figure['value']:.4g} | {figure['unit']}"
                rows.append((better, f"| {name}: {figure['case']} | {figure['who']} | {cells} | {better:.2f} |"))
    machines = {name: {before[name]["machine"], after[name]["machine"]} for name in before.keys() & after.keys()}
    warnings = [f"{name}: on another machine" for name, both in machines.items() if len(both) > 1]
    heads = ["| figure | of | before | now | unit | better |", "|" + " --- |" * 6]
    return [*heads, *(row for _, row in sorted(rows)), *warnings]


def more_is_better(unit: str) -> bool:
    return unit.endswith("/s") or unit in ("share", "times")


def _revision() -> str:
    """Short name of the commit; with `-dirty` where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
