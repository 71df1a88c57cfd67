"""Features of files as they are extracted: one .npy for each file and feature, and what was found in it."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.artifacts.done import check_format, format_fields
from pipeline.artifacts.files import atomic_file, read_json, remove_folder, remove_leftovers, write_json
from pipeline.config.errors import StageError
from pipeline.features.extraction import Extracted
from pipeline.inputs.index.sources import size_and_mtime

FOLDER = "extracted"
"""Name of the folder in that of the dataset."""
_RECIPES, _FILES, _FEATURES = "made_by.json", "files", "features"


class StoredFile(NamedTuple):
    """What is stored of a file."""

    frames: int
    """0 if nothing could be read."""
    features: list[str]
    """Names of those that it has: of pictures and sound it may lack one."""
    fault: str
    """What is wrong with it; empty for nothing."""


class Store:
    """Extracted features in a folder, all made by the same recipes.

    Args:
        folder: of the dataset.
        recipes: name of each feature -> how it is made.
    """

    def __init__(self, folder: Path, recipes: dict[str, str]):
        self.folder = folder / FOLDER
        self._recipes = recipes

    def is_open(self) -> bool:
        """Return whether the folder is there, made by the same recipes."""
        place = self.folder / _RECIPES
        return place.exists() and read_json(place).get("recipes") == self._recipes

    def open(self, force: bool) -> None:
        """Make the folder, or go on with one that is there; with `force` it is emptied if its recipes are others.

        Raises StageError if other recipes made what is there.
        """
        place = self.folder / _RECIPES
        if place.exists():
            values = read_json(place)
            check_format(place, values)
            if values["recipes"] != self._recipes:
                if not force:
                    raise StageError(
                        f"{self.folder} holds features that were made otherwise: {_differing(values, self._recipes)}. "
                        "Use those backbones and settings, choose another --name, or extract all anew with --force"
                    )
                remove_folder(self.folder)
        for each in (self.folder, self.folder / _FILES, *map(self._folder_of, self._recipes)):
            each.mkdir(parents=True, exist_ok=True)
            remove_leftovers(each)
        if not place.exists():
            write_json(place, {**format_fields(), "recipes": self._recipes})

    def find(self, id: str, path: Path) -> StoredFile | None:
        """Return what is stored of a file; None if it is not there, or the file has changed since."""
        place = self._record_of(id)
        if not place.exists():
            return None
        values = read_json(place)
        try:
            if values["file"] != [path.name, *size_and_mtime(path)]:
                return None
            found = StoredFile(values["frames"], values["features"], values["fault"])
        except (KeyError, TypeError):
            return None
        return found if all(self.place_of(name, id).exists() for name in found.features) else None

    def write(self, id: str, path: Path, extracted: Extracted) -> StoredFile:
        """Store the features of a file, then what was found in it; a file without a frame is tried again next time."""
        there = []
        self._record_of(id).unlink(missing_ok=True)
        for name, values in zip(self._recipes, extracted.features):
            if values is not None:
                content = io.BytesIO()  # into a file NumPy writes by the C library, and passes over its last error
                np.save(content, values)
                with atomic_file(self.place_of(name, id)) as temporary:
                    temporary.write_bytes(content.getbuffer())
                there.append(name)
        found = StoredFile(extracted.end.frames, there, extracted.end.fault)
        if found.frames:
            write_json(self._record_of(id), {"file": [path.name, *size_and_mtime(path)], **found._asdict()})
        return found

    def place_of(self, feature: str, id: str) -> Path:
        """Return where a feature of a file lies."""
        return self._folder_of(feature) / f"{id}.npy"

    def _folder_of(self, feature: str) -> Path:
        return self.folder / _FEATURES / feature

    def _record_of(self, id: str) -> Path:
        return self.folder / _FILES / f"{id}.json"


def _differing(values: dict[str, Any], recipes: dict[str, str]) -> str:
    stored = values["recipes"]
    told = [
        f"{name} by {stored.get(name, 'nothing')}, and now by {recipes.get(name, 'nothing')}"
        for name in dict.fromkeys([*stored, *recipes])
        if stored.get(name) != recipes.get(name)
    ]
    return "; ".join(told) or "in another order"


def ids_of(paths: Sequence[Path]) -> dict[str, Path]:
    """Return the files by their ids, which are their names without the ending.

    Raises StageError if two have one id.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if (other := found.setdefault(path.stem, path)) != path:
            raise StageError(f"{other} and {path} would both have the id {path.stem!r}: rename one of them")
    return found
