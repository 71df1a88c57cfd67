"""Trained models on disk: written whole, known by what they hold; those of the last evaluations."""

import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.done import digest_json
from pipeline.artifacts.files import atomic_file, remove_leftovers
from pipeline.config.errors import StageError

if TYPE_CHECKING:
    import keras

MODEL = "model.keras"
"""The weights that scored best on the hold-out, averaged or plain; the last averaged ones where there is none."""
SNAPSHOTS = "snapshots"


def store_model(path: Path, model: "keras.Model") -> None:
    """Write a model, atomically."""
    with atomic_file(path) as temporary:
        named = temporary.with_name(f"{temporary.name}.keras")  # Keras goes by the suffix
        model.save(named)
        named.replace(temporary)


def digest_model(path: Path) -> str:
    """A hash of the architecture and the weights, wherever and whenever they were stored, and by code wherever it lies.

    Raises:
        StageError: the file is damaged.
    """
    architecture, weights = _content(path)
    return digest_json(re.sub(r'"module": "pipeline[^"]*", ', "", architecture), weights)


def is_model(path: Path, output: str) -> bool:
    """Whether a stored model is the one of this digest; that of version 0.1.0 told modules apart too."""
    return output in (digest_model(path), digest_json(*_content(path)))


def _content(path: Path) -> tuple[str, int]:
    """The architecture as JSON, and the checksum of the weights.

    Raises:
        StageError: the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            weights = archive.getinfo("model.weights.h5").CRC
            # Keras numbers what layers share by where it lies in memory.
            architecture = re.sub(r'"shared_object_id": \d+', "", archive.read("config.json").decode())
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise StageError(f"{path} is not a stored model ({error}): train its run anew with --force") from error
    return architecture, weights


def list_snapshots(run: Path) -> list[Path]:
    """The models that a run stored after its last evaluations, oldest first."""
    return sorted((run / SNAPSHOTS).glob("step-*.keras"))


def step_of(snapshot: Path) -> int:
    """The step after which a snapshot was stored."""
    return int(snapshot.stem.removeprefix("step-"))


class Snapshots:
    """The models after a run's last evaluations, `kept` of them at most.

    Those after the step that a run goes on from are dropped: it comes to them again.
    """

    def __init__(self, run: Path, kept: int, from_step: int):
        self.run = run
        self.kept = kept
        remove_leftovers(run / SNAPSHOTS)
        for path in list_snapshots(run):
            if step_of(path) > from_step:
                path.unlink()

    def add(self, step: int, model: "keras.Model") -> None:
        if not self.kept:
            return
        store_model(self.run / SNAPSHOTS / f"step-{step:09d}.keras", model)
        for path in list_snapshots(self.run)[: -self.kept]:
            path.unlink()
