"""The header of a bundle: its dataset, members, recipe and class names, and what it was made from."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.config import MOST_CLASSES, ConfigError, DatasetConfig, ModelConfig, SamplingConfig, from_dict, to_dict
from pipeline.config.checked import LEFT_OUT_AT_DEFAULT
from pipeline.config.wording import counted
from pipeline.ensembling.recipe import Recipe
from pipeline.inference.bundle.container import HEADER, SCORES, BundleError, Container
from pipeline.inference.bundle.onnx_container import OnnxContainer
from pipeline.inference.bundle.opening import open_bundle
from pipeline.inference.bundle.quantization import Encoding
from pipeline.inference.thresholds import Thresholds
from pipeline.inputs.reading.sampling import distinct_samplings, frames_chosen, sampled_length

FORMAT = 1
_MOST_FEATURES = 256
_MOST_VALUES = 1 << 25
"""Values of a video's frames, for which memory is taken whatever the video has: YouTube-8M's have a hundredth."""


@dataclass(frozen=True)
class StoredModel:
    """A member of a bundle: how its model is built, which frames it is shown, and how its weights are stored."""

    model: ModelConfig
    sampling: SamplingConfig
    precision: Literal["float32", "mixed_bfloat16"]
    encodings: tuple[Encoding, ...]
    """How each weight is stored, in the model's order."""


@dataclass(frozen=True)
class Header:
    """Everything in a bundle except the weights."""

    dataset: DatasetConfig
    models: tuple[StoredModel, ...]
    """Those of each of `recipe.used`, in the same order."""
    recipe: Recipe
    kept: int
    """How many labels of each model are blended."""
    names: tuple[str, ...]
    """The names of the classes."""
    weights: Encoding
    """The encoding that was asked for; `encodings` say how each weight is in fact stored."""
    versions: dict[str, str]
    """The versions of the packages that made the bundle."""
    inputs: dict[str, str]
    """The digests of what the bundle was made from."""
    thresholds: Thresholds | None = field(default=None, metadata=LEFT_OUT_AT_DEFAULT)
    """From which score on each class is assigned, if that was chosen for the run."""
    folds: tuple[int, ...] = field(default=(), metadata=LEFT_OUT_AT_DEFAULT)
    """How many models each of `recipe.used` has, whose probabilities are averaged; left out where each has one."""

    @property
    def of_members(self) -> tuple[tuple[StoredModel, ...], ...]:
        """The models of each of `recipe.used`."""
        ends = list(itertools.accumulate(self.folds or [1] * len(self.models)))
        return tuple(self.models[start:end] for start, end in zip([0, *ends], ends))

    def to_dict(self) -> dict[str, Any]:
        return {"format": FORMAT, **to_dict(self)}


def read_header(path: Path) -> Header:
    """Read the header of a bundle. Raises BundleError if the file is not one, is damaged, or asks for too much."""
    with open_bundle(path) as container:
        return parse_header(container)


def read_scores(path: Path) -> dict[str, Any]:
    """Read the size that the rules allow, and the hold-out's metrics before and after export, where they are known."""
    with open_bundle(path) as container:
        return container.json(SCORES)


def parse_header(container: Container | OnnxContainer) -> Header:
    """Return the header of an open bundle. Raises BundleError if it is faulty, or a model is missing or too many."""
    values, source = container.json(HEADER), f"{container.path}: {HEADER}"
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise BundleError(f"{source} is not of format {FORMAT}: export it with this version of the pipeline")
    try:
        header = from_dict(Header, values, source)
    except (ConfigError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{source} does not say what the bundle holds: {error}") from error
    for fault in _faults(header):
        raise BundleError(f"{source}: {fault}")
    container.check_models(len(header.models))
    return header


def _faults(header: Header) -> Iterator[str]:
    """Yield the contradictions between parts of the header; each part by itself was checked when it was made."""
    dataset = header.dataset
    if len(dataset.features) > _MOST_FEATURES:
        yield f"there are {len(dataset.features)} features; the most is {_MOST_FEATURES}"
    samplings = distinct_samplings(each.sampling for each in header.models)
    lengths = [sampled_length(each.evaluation, each, dataset) for each in samplings]
    if (values := sum(lengths) * dataset.width) > _MOST_VALUES:
        yield f"a video has up to {values:,} values; the most is {_MOST_VALUES:,}. Export it with fewer frames"
    if not 1 <= header.kept <= MOST_CLASSES:
        yield f"{counted(header.kept, 'label')} of each model to be blended; there must be 1 to {MOST_CLASSES}"
    members, noun = (len(header.folds), "member") if header.folds else (len(header.models), "model")
    if members != len(header.recipe.used):
        yield f"it has {counted(members, noun)} for a recipe of {len(header.recipe.used)}"
    if header.folds and (min(header.folds) < 1 or sum(header.folds) != len(header.models)):
        yield f"it has {counted(len(header.models), 'model')} for members of {', '.join(map(str, header.folds))}"
    elif any(len({frames_chosen(each.sampling) for each in models}) > 1 for models in header.of_members):
        yield "the models of one member are shown different frames"
    if len(header.names) != dataset.num_classes:
        yield f"it has {counted(len(header.names), 'name')} for {counted(dataset.num_classes, 'class', 'classes')}"
    if header.thresholds and len(header.thresholds.by_class) != dataset.num_classes:
        yield (
            f"it has {counted(len(header.thresholds.by_class), 'threshold')} for "
            f"{counted(dataset.num_classes, 'class', 'classes')}"
        )
    for text in (dataset.name, *header.names, *(member.run for member in header.recipe.members)):
        if not text.isprintable():  # a terminal would obey such characters
            yield f"the name {text!r} has unprintable characters"
