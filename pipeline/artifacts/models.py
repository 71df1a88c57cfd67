"""Trained models on disk: written atomically, identified by a digest of their content; and a run's snapshots."""

import re
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.done import digest_json
from pipeline.artifacts.failures import is_refusal
from pipeline.artifacts.files import atomic_file, remove_leftovers
from pipeline.config.errors import StageError

if TYPE_CHECKING:
    import keras

MODEL = "model.keras"
"""The weights that scored best on the hold-out, averaged or plain; without a hold-out, the last averaged ones."""
SNAPSHOTS = "snapshots"
_LARGEST = 64 << 20
"""Bytes of the description of an architecture; a large one has 100 kB."""


def store_model(path: Path, model: "keras.Model") -> None:
    """Write a model atomically."""
    with atomic_file(path, ".keras") as temporary:  # Keras chooses the format by the suffix
        model.save(temporary)


def digest_model(path: Path) -> str:
    """Return a hash of the architecture and the weights.

    It does not depend on where and when they were stored, nor on which module defines the layers.

    Raises:
        StageError: the file is damaged.
    """
    architecture, weights = _content(path)
    return digest_json(re.sub(r'"module": "pipeline[^"]*", ', "", architecture), weights)


def is_model(path: Path, output: str) -> bool:
    """Return whether a stored model has this digest; digests of version 0.1.0 included the names of modules."""
    return output in (digest_model(path), digest_json(*_content(path)))


def _content(path: Path) -> tuple[str, int]:
    """Return the architecture as JSON, and the checksum of the weights.

    Raises:
        StageError: the file is damaged.
        OSError: the system refuses to read it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            weights = archive.getinfo("model.weights.h5").CRC
            # Keras numbers shared objects by their address in memory, which changes from process to process.
            with archive.open("config.json") as file:
                text = file.read(_LARGEST + 1)
            if len(text) > _LARGEST:
                raise ValueError(f"its config.json has more than {_LARGEST >> 20} MiB")
            architecture = re.sub(r'"shared_object_id": \d+', "", text.decode())
    except (OSError, EOFError, KeyError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        if is_refusal(error):
            raise
        raise StageError(f"{path} is not a stored model ({error}): train its run anew with --force") from error
    return architecture, weights


def list_snapshots(run: Path) -> list[Path]:
    """List the models that a run stored after its last evaluations, oldest first."""
    return sorted((run / SNAPSHOTS).glob("step-*.keras"))


def step_of(snapshot: Path) -> int:
    """Return the step after which a snapshot was stored."""
    return int(snapshot.stem.removeprefix("step-"))


class Snapshots:
    """The models of a run's last evaluations, at most `kept` of them.

    Snapshots after the step from which a run resumes are deleted: the run will store them again.
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
