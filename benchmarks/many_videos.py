"""Peak memory of every stage, as the number of videos grows tenfold: what a video costs, and what all share.

    python -m benchmarks.many_videos

Small synthetic videos, half of them to train on and half to predict, of few frames, so that what a stage keeps of each
video counts, and not its frames. One epoch of `average`. Of a stage's processes the one with the largest memory counts.
"""

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tyro

from benchmarks.figures import Common, Figure, show

ROOT = Path(__file__).parent.parent
STAGES = ("synthesize", "ingest", "train", "infer", "ensemble", "submit", "evaluate", "report")
_PRESET = '''"""Small videos."""

from pipeline.config import *

MODELS = ("average",)


def experiment(model):
    return Experiment(
        DatasetConfig("scale", (FeatureConfig("rgb", 16), FeatureConfig("audio", 4)), 64, max_frames=6,
                      holdout_percent=10, synthetic=True),
        ModelConfig(model, AverageConfig(), ClassifierConfig(hidden=16, gating="none", head="logistic")),
        SamplingConfig(frames=4),
        TrainingConfig(batch_size=256, epochs=1, learning_rate=1e-3),
        InferenceConfig(1024, 20, 16384),
        synthesis=SynthesisConfig({videos} // 2, {videos} // 2, 500, 2, 6),
    )
'''


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    few: int = 20_000
    """Videos of the smaller dataset."""
    many: int = 200_000
    """Videos of the larger one."""


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    figures = []
    peaks: dict[str, list[int]] = {stage: [] for stage in STAGES}
    for videos in (flags.few, flags.many):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "scale.py").write_text(_PRESET.replace("{videos}", str(videos)), encoding="utf-8")
            for stage in STAGES:
                peak, seconds = _peak(stage, Path(folder))
                peaks[stage].append(peak)
                figures.append(Figure(f"{stage}, peak memory", f"{videos:,} videos", peak / 1e6, "MB"))
                figures.append(Figure(f"{stage}, time", f"{videos:,} videos", seconds, "s"))
                print(f"{videos:,} videos, {stage}: {peak / 1e6:,.0f} MB in {seconds:,.0f} s", flush=True)
    for stage, (few, many) in peaks.items():
        bytes_a_video = (many - few) / (flags.many - flags.few)
        figures.append(Figure(f"{stage}, memory that a video adds", f"{flags.many:,} videos", bytes_a_video, "bytes"))
        figures.append(Figure(f"{stage}, memory of many over few", f"{flags.many:,} videos", many / few, "times"))
    show(figures, flags.json, "scale")


def _peak(stage: str, folder: Path) -> tuple[int, float]:
    """Run a stage; return the bytes of its largest process, and the seconds that it took."""
    places = {f"PIPELINE_{name.upper()}": str(folder / name) for name in ("data", "runs", "submissions", "reports")}
    command = [sys.executable, "-m", f"pipeline.{stage}", "--preset", str(folder / "scale.py")]
    began = time.monotonic()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **places}, stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{stage} failed:\n{(folder / 'log').read_text()}")
    return used.ru_maxrss * 1024, time.monotonic() - began


if __name__ == "__main__":
    main()
