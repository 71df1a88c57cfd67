"""What a bundle says of itself: dataset, members, recipe, class names, and what made it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.config import MOST_CLASSES, ConfigError, DatasetConfig, ModelConfig, SamplingConfig, from_dict, to_dict
from pipeline.ensembling.recipe import Recipe
from pipeline.inference.bundle.container import HEADER, SCORES, BundleError, Container, open_bundle, weights_name
from pipeline.inference.bundle.quantization import Encoding

FORMAT = 1


@dataclass(frozen=True)
class StoredModel:
    """A member: how its model is built, what it is shown, and how its weights are stored."""

    model: ModelConfig
    sampling: SamplingConfig
    precision: Literal["float32", "mixed_bfloat16"]
    encodings: tuple[Encoding, ...]
    """Of each weight, in the model's order."""


@dataclass(frozen=True)
class Header:
    """Everything in a bundle but the weights."""

    dataset: DatasetConfig
    models: tuple[StoredModel, ...]
    """One for each of `recipe.used`, in their order."""
    recipe: Recipe
    kept: int
    """Labels of each model that are blended."""
    names: tuple[str, ...]
    """Of the classes."""
    weights: Encoding
    """As asked for; `encodings` say how each weight is stored."""
    versions: dict[str, str]
    """Packages that made it."""
    inputs: dict[str, str]
    """Digests of what it was made from."""

    def to_dict(self) -> dict[str, Any]:
        return {"format": FORMAT, **to_dict(self)}


def read_header(path: Path) -> Header:
    """What a bundle says of itself. Raises BundleError where it is none, is damaged, or asks for too much."""
    with open_bundle(path) as container:
        return parse_header(container)


def read_scores(path: Path) -> dict[str, Any]:
    """The size that the rules allow, and the hold-out's metrics before and after, as far as they are known."""
    with open_bundle(path) as container:
        return container.json(SCORES)


def parse_header(container: Container) -> Header:
    """The header of an open bundle, and each of its entries is accounted for. Raises BundleError where it is not so."""
    values, source = container.json(HEADER), f"{container.path}: {HEADER}"
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise BundleError(f"{source} is not of format {FORMAT}: export it with this version of the pipeline")
    try:
        header = from_dict(Header, values, source)
    except (ConfigError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{source} does not say what the bundle holds: {error}") from error
    for fault in _faults(header):
        raise BundleError(f"{source}: {fault}")
    expected = {HEADER} | {weights_name(number) for number in range(len(header.models))}
    if differing := (container.sizes.keys() - {SCORES}) ^ expected:
        raise BundleError(f"{container.path}: {min(differing)} is missing, or belongs to no member")
    return header


def _faults(header: Header) -> Iterator[str]:
    """What the settings, which are checked when they are made, do not know of each other and of the rest."""
    dataset = header.dataset
    if not 1 <= header.kept <= MOST_CLASSES:
        yield f"{header.kept} labels of each model; from 1 to {MOST_CLASSES} can be"
    if len(header.models) != len(header.recipe.used):
        yield f"{len(header.models)} models for a recipe of {len(header.recipe.used)}"
    if len(header.names) != dataset.num_classes:
        yield f"{len(header.names)} names for {dataset.num_classes} classes"
    for text in (dataset.name, *header.names, *(member.run for member in header.recipe.members)):
        if not text.isprintable():  # it would be obeyed by a terminal
            yield f"the name {text!r} has unprintable characters"
