"""The teacher of a run: find its predictions of the training videos, and say what to run if they are missing."""

from pathlib import Path

from pipeline.artifacts.done import Done
from pipeline.artifacts.files import read_json
from pipeline.artifacts.places import ENSEMBLE, WEIGHTS, Places, find_run
from pipeline.config.errors import StageError
from pipeline.inference.freshness import prediction_store, why_stale
from pipeline.inputs.index import TRAIN, Index


class Teacher:
    """A run, or the blend of several, that has predicted the training videos.

    Args:
        places: the folders in which runs lie.
        preset: the preset as given on the command line.
        preset_name: the name of the folder of its runs.
        name: the name or the path of the teacher.
        student: the folder of the run that learns from it.
    Raises:
        StageError: there is no such run, or it cannot teach this one.
    """

    def __init__(self, places: Places, preset: str, preset_name: str, name: str, student: Path):
        ensemble = places.run(preset_name, ENSEMBLE)
        self.preset = preset
        self.folder = ensemble if name == ENSEMBLE else find_run(places, preset_name, name)
        self.store = prediction_store(self.folder, TRAIN)
        self._blend = read_json(self.folder / WEIGHTS) if (self.folder / WEIGHTS).exists() else {}
        self._blends = bool(self._blend) or self.folder == ensemble
        if self.folder.resolve() == student.resolve():
            raise StageError(f"--training.teacher {name}: a run cannot be its own teacher; choose another --run")
        if self._blend.get("combine") == "ranks":
            raise StageError(
                f"{self.folder} blends ranks, which are not probabilities: blend with another --ensemble.combine"
            )

    def digest(self, taught: Done | None, index: Index) -> str:
        """Return the digest of its predictions; if they are gone, of those that the finished student learned from.

        They may well be gone: they are large, and a blend that includes the student is a different blend.

        Raises:
            StageError: there are no predictions and never were, or they are out of date. The message names the commands
                to run first.
        """
        if predicted := Done.read(self.store.folder):
            if fault := why_stale(self.folder, TRAIN, index):
                raise StageError(fault)
            return predicted.output
        if taught and "teacher" in taught.inputs:
            return taught.inputs["teacher"]
        members = [member["path"] for member in self._blend.get("members", []) if member["weight"]]
        runs = members or (["MEMBER"] if self._blends else [self.folder])
        commands = [f"infer --preset {self.preset} --run {run} --split {TRAIN}" for run in runs]
        if self._blends:
            commands.append(f"ensemble --preset {self.preset} --split {TRAIN}")
        listed = "".join(f"\n  python -m pipeline.{command}" for command in commands)
        raise StageError(f"{self.folder} has not predicted the training videos; run first:{listed}")
