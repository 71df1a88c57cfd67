"""The recipe by which a feature was made, in the records that hold it: features of two recipes are not mixed."""

from functools import lru_cache

from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.inputs.records.wire import Buffer, ParseError, Span, feature_values

_ENDING = "/made_by"


def recipes_of(features: list[FeatureConfig]) -> dict[str, str]:
    """Return what is written into the context of a record: a key for each feature that has a recipe."""
    return {feature.key + _ENDING: feature.made_by for feature in features if feature.made_by}


def check_recipes(data: Buffer, entries: dict[str, Span], dataset: DatasetConfig) -> None:
    """Raise ParseError if a record says that a feature was made otherwise than declared; it need not say."""
    for key, declared in _declared(dataset):
        if key not in entries:
            continue
        _, values = feature_values(data, entries[key])
        found = bytes(data[slice(*values[0])]) if len(values) == 1 else b""
        if found != declared:
            raise ParseError(
                f"{key.removesuffix(_ENDING)} was made by {found.decode(errors='replace')}, and the dataset declares "
                f"{declared.decode()}: extract it again as the others were"
            )


@lru_cache(maxsize=64)
def _declared(dataset: DatasetConfig) -> list[tuple[str, bytes]]:
    return [(key, text.encode()) for key, text in recipes_of(list(dataset.features)).items()]
