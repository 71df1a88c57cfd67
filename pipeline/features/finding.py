"""Find the file of a backbone: one of one's own, a known one, or the one that a recipe names by its checksum."""

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.artifacts.done import sha256_of
from pipeline.artifacts.files import atomic_file, remove_leftovers
from pipeline.config.checked import check_value
from pipeline.config.errors import StageError
from pipeline.config.ranges import FolderName
from pipeline.features.backbone import Backbone, described_beside, with_options
from pipeline.features.fetching import fetched, is_address, recorded_checksum
from pipeline.features.known import KNOWN
from pipeline.features.networks import KERAS

FOLDER = "backbones"
"""Name of the folder below --data-dir that keeps the files of backbones which features were made with."""
_USUAL = {"frames": "rgb", "audio": "audio"}
"""Names of features, where there is one backbone of a task."""


class Chosen(NamedTuple):
    """A backbone for a feature."""

    feature: str
    """Name of the feature."""
    backbone: Backbone
    path: Path | None
    """Its file; None for one of Keras."""


def choose_backbones(named: Sequence[str], options: Sequence[str], folder: Path) -> list[Chosen]:
    """Return the backbones that are named.

    Args:
        named: FILE.onnx, its address, keras:NAME or the name of a known one; FEATURE= may stand before.
        options: FEATURE.FIELD=VALUE, which changes how a backbone is used.
        folder: of the files of known backbones.

    Raises:
        StageError: a file is missing or has another checksum, or two features have one name.
        ConfigError: a field or a value is none that a backbone has.
    """
    if not named:
        raise StageError(f"--backbones is missing: name an .onnx file, keras:NAME, or one of {', '.join(KNOWN)}")
    changed = _options(options)
    found = []
    for item in named:
        feature, place = _divided(item)
        backbone, path = _find(place, folder)
        found.append((feature, backbone, path))
    tasks = [backbone.task for _, backbone, _ in found]
    chosen = []
    for feature, backbone, path in found:
        name = feature or (_USUAL[backbone.task] if tasks.count(backbone.task) == 1 else backbone.name)
        check_value(f"--backbones {name}: the name of the feature", name, FolderName)
        chosen.append(Chosen(name, with_options(backbone, changed.pop(name, {})), path))
    names = [each.feature for each in chosen]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise StageError(f"--backbones: two make the feature {name}; name them, as in first=A.onnx second=B.onnx")
    if changed:
        raise StageError(f"--backbone-option names {', '.join(changed)}, and the features are {', '.join(names)}")
    return chosen


def usual_remark(chosen: Chosen) -> str | None:
    """Return what to tell of a backbone of pictures that sees them as they are decoded; None of others."""
    backbone, path = chosen.backbone, chosen.path
    as_decoded = backbone.scale == 1 and set(backbone.mean) == {0} and set(backbone.deviation) == {1}
    if path is None or backbone.task != "frames" or not as_decoded or path.with_suffix(".json").exists():
        return None
    return (
        f"note: nothing says what {path.name} expects of pixels, so they go in from 0 to 255; {path.stem}.json beside "
        f"it, or --backbone-option {chosen.feature}.scale=..., {chosen.feature}.mean=... says otherwise"
    )


def find_by_checksum(backbone: Backbone, named: Iterable[Path], folder: Path) -> Path | None:
    """Return the file of a backbone by its checksum: one of those named, or one that is kept in `folder`.

    Raises StageError if there is none; the message says which file is needed.
    """
    if backbone.file.startswith(KERAS):
        return None
    for path in (*named, kept_at(folder, backbone)):
        if path.is_file() and sha256_of(path) == backbone.sha256:
            return path
    raise StageError(
        f"the features were made by the backbone {backbone.name}, and its file is not there: name {backbone.file} with "
        f"the SHA-256 {backbone.sha256} by --backbone-files"
    )


def keep(chosen: Chosen, folder: Path) -> None:
    """Keep a backbone's files in `folder` for `predict`: a link where that is possible, a copy elsewhere."""
    if chosen.path is None:
        return
    place = kept_at(folder, chosen.backbone)
    for name in filter(None, (chosen.backbone.file, chosen.backbone.pca)):
        source, kept = chosen.path.with_name(name), place.with_name(name)
        remove_leftovers(place.parent, name)
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            try:
                kept.hardlink_to(source.resolve())
            except OSError:
                with atomic_file(kept) as temporary:
                    shutil.copyfile(source, temporary)


def kept_at(folder: Path, backbone: Backbone) -> Path:
    """Return where the file of a backbone is kept: in a folder named by its checksum."""
    return folder / backbone.sha256[:16] / backbone.file


def _divided(item: str) -> tuple[str, str]:
    """Return a feature's name, or nothing, and what makes the feature."""
    name, separator, place = item.partition("=")
    whole = not separator or Path(item).exists() or is_address(item)
    return ("", item) if whole else (name, place)


def _find(place: str, folder: Path) -> tuple[Backbone, Path | None]:
    if place.startswith(KERAS):
        from pipeline.features.keras_backbone import keras_backbone

        return keras_backbone(place.removeprefix(KERAS)), None
    path = Path(place)
    if place in KNOWN and not path.exists():
        known = KNOWN[place]
        path = folder / known.backbone.file
        if not path.is_file() and not known.address:
            raise StageError(
                f"{path} is missing: {place} is published at {known.published}; put it there, as an .onnx file, or "
                "name its address"
            )
        if known.address:
            path = fetched(known.address, folder, known.backbone.file, known.backbone.sha256)
        return _checked(known.backbone, path), path
    if is_address(place):
        path = fetched(place, folder)
    if not path.is_file():
        known_names = ", ".join(KNOWN)
        raise StageError(
            f"--backbones {place}: there is no such file; name an .onnx file, its address, keras:NAME, or {known_names}"
        )
    own = sha256_of(path)
    like = next((each.backbone for each in KNOWN.values() if each.backbone.sha256 == own), None)
    if like and not path.with_suffix(".json").exists():  # a known file under whatever name
        return _checked(replace(like, file=path.name), path), path
    return _checked(described_beside(path, {}), path), path


def _checked(backbone: Backbone, path: Path) -> Backbone:
    """Return a backbone with the checksums of its files. Raises StageError if one is another than it must be."""
    found = {"sha256": sha256_of(path)}
    if backbone.pca:
        if not path.with_name(backbone.pca).is_file():
            raise StageError(f"{path.with_name(backbone.pca)} is missing: {backbone.name} needs this PCA")
        found["pca_sha256"] = sha256_of(path.with_name(backbone.pca))
    for name, checksum in found.items():
        wanted = getattr(backbone, name) or (recorded_checksum(path) if name == "sha256" else "")
        if wanted and wanted != checksum:
            raise StageError(
                f"{path} has the SHA-256 {checksum}, and {backbone.name} must have {wanted}: download it again, or "
                "name it as a file of your own"
            )
    return replace(backbone, **found)


def _options(options: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the options of each feature: names of fields to values."""
    found: dict[str, dict[str, Any]] = {}
    for item in options:
        place, separator, text = item.partition("=")
        feature, dot, field = place.rpartition(".")
        if not (separator and dot and feature and field):
            raise StageError(f"--backbone-option {item}: write FEATURE.FIELD=VALUE, for example rgb.resize=256")
        found.setdefault(feature, {})[field] = _value(text)
    return found


def _value(text: str) -> Any:
    """Return a number, several with commas between, or a text."""
    for written in (text, f"[{text}]"):
        try:
            value = json.loads(written)
        except ValueError:
            continue
        if isinstance(value, list):
            return [float(each) for each in value]
        return value
    return text
