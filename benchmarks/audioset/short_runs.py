"""Short runs: families trained on ever fewer of AudioSet's clips, as stored, and by their plain weights alone.

    python -m benchmarks.audioset.short_runs --train DIR --eval DIR --folder DIR

Each family is trained as the preset has it, on all shards and on every fourth, sixteenth and sixty-fourth of them, and
again without an average of its weights, which changes nothing in how they are trained. All predict the same eval clips.
Writes short_runs.csv and a picture of it, short_runs.svg, to benchmarks/results. It can be stopped and run again: what
is finished in the folder is skipped, so give it another folder for another version of the code.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from matplotlib.figure import Figure
from tqdm import tqdm

from benchmarks.audioset.picture import BLEND, INK, RUN, SETTINGS
from benchmarks.audioset.runs import stage
from pipeline.artifacts.files import read_json
from pipeline.artifacts.hidden import visible
from pipeline.artifacts.places import RUN_CONFIG
from pipeline.reporting.style import drawing
from pipeline.training.log import read_log

RESULTS = Path(__file__).parent.parent / "results"
PARTS = (64, 16, 4, 1)
"""Of so many shards one is trained on."""
STORED, PLAIN = "stored", "plain"
CHANGES = {STORED: (), PLAIN: ("--training.ema-half-life", "0")}


@dataclass(frozen=True)
class Flags:
    train: Path
    """Where the shards to train on lie."""
    eval: Path
    """Where the shards to score lie."""
    folder: Path
    """For indexes and runs, some 500 MB."""
    families: tuple[str, ...] = ("average", "netvlad", "attention_cluster")


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    rows = []
    with tqdm(total=len(PARTS) * len(flags.families), unit=" runs") as bar:
        for part in PARTS:
            places = _ingest(flags, part)
            for family in flags.families:
                rows.append(_row(family, part, places))
                bar.update()
                bar.write(json.dumps(rows[-1]))
    rows.sort(key=lambda row: (flags.families.index(row["family"]), row["clips"]))
    with (RESULTS / "short_runs.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    draw(rows, RESULTS / "short_runs.svg")


def _ingest(flags: Flags, part: int) -> dict[str, str]:
    """Index one of `part` shards, and those to score; the environment in which stages find them."""
    folder = flags.folder.absolute() / f"part-{part}"
    shards = folder / "shards"
    shards.mkdir(parents=True, exist_ok=True)
    for path in sorted(visible(flags.train.absolute(), "*.tfrecord"))[::part]:
        if not (shards / path.name).exists():
            (shards / path.name).symlink_to(path)
    places = {"PIPELINE_DATA": str(folder / "data"), "PIPELINE_RUNS": str(folder / "runs")}
    stage("ingest", "--raw", f"train={shards}", "--raw", f"eval={flags.eval.absolute()}", **places)
    return places


def _row(family: str, part: int, places: dict[str, str]) -> dict[str, Any]:
    gaps = {}
    for name, changes in CHANGES.items():
        run = f"{family}-{name}"
        stage("train", "--model", family, "--run", run, *changes, **places)
        stage("infer", "--run", run, "--split", "eval", **places)
        scores = stage("evaluate", "--run", run, "--split", "eval", "--json", **places)
        gaps[name] = round(json.loads(scores)["gap"], 5)
    folder = Path(places["PIPELINE_RUNS"]) / "audioset" / f"{family}-{STORED}"
    best, steps = (read_json(folder / "summary.json")[name] for name in ("best", "steps"))
    training = read_json(folder / RUN_CONFIG)["training"]
    epochs = read_log(folder / "metrics.jsonl")[-1]["epoch"]
    clips = round(steps * training["batch_size"] / epochs)
    return {
        "family": family,
        "clips": clips,
        "steps": steps,
        "gap": gaps[STORED],
        "gap_plain": gaps[PLAIN],
        "weights": best["weights"],
        "holdout_gap": round(best["gap"], 5),
        "seed": training["seed"],
    }


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the curves as SVG: GAP on the eval clips by the number of training clips, a panel a family."""
    families = list(dict.fromkeys(row["family"] for row in rows))
    with drawing(SETTINGS | {"axes.spines.left": True}):
        figure = Figure(figsize=(2.9 * len(families) + 0.6, 3.0), layout="constrained")
        panels = figure.subplots(1, len(families), sharey=True, squeeze=False)[0]
        for axes, family in zip(panels, families):
            own = [row for row in rows if row["family"] == family]
            clips = [row["clips"] for row in own]
            axes.plot(clips, [row["gap_plain"] for row in own], "D--", color=BLEND, markersize=5, label="plain weights")
            axes.plot(clips, [row["gap"] for row in own], "o-", color=RUN, markersize=6, label="as stored")
            axes.set_xscale("log", base=4)
            axes.set_xticks(clips, [f"{number:,}" for number in clips])
            axes.set_title(family, fontsize=11)
            axes.grid(color=INK, alpha=0.25, linewidth=0.6)
            axes.set_xlabel("training clips")
        panels[0].set_ylim(bottom=0)
        panels[0].set_ylabel("GAP@20, 10,190 eval clips")
        panels[0].legend(frameon=False, loc="lower right")
        figure.savefig(path, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
