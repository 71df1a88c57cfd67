"""Turn arrays into probabilities: the table of pooling families, and the model around a family."""

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import DatasetConfig, ModelConfig, StageError, find_by_name

if TYPE_CHECKING:
    import keras

_MODULES = {
    "average": "average:Average",
    "dbof": "dbof:DBoF",
    "soft_dbof": "soft_dbof:SoftDBoF",
    "netvlad": "netvlad:NetVLAD",
    "netrvlad": "netrvlad:NetRVLAD",
    "netfv": "netfv:NetFV",
    "nextvlad": "nextvlad:NeXtVLAD",
    "attention_cluster": "attention_cluster:AttentionCluster",
    "attention_enhanced_netvlad": "attention_enhanced_netvlad:AttentionEnhancedNetVLAD",
    "attention_netvlad": "attention_netvlad:AttentionNetVLAD",
    "second_order": "second_order:SecondOrder",
    "recurrent": "recurrent:Recurrent",
    "latent_attention": "latent_attention:LatentAttention",
}


class _Families(Mapping[str, "type[keras.layers.Layer]"]):
    """Family name -> layer class, imported on first use; for an unknown name the error lists the valid ones."""

    def __getitem__(self, name: str) -> "type[keras.layers.Layer]":
        module, _, attribute = find_by_name(name, _MODULES, "pooling family").partition(":")
        return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)

    def __contains__(self, name: object) -> bool:
        return name in _MODULES

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


FAMILIES = _Families()
"""All families by name. Every pooling layer maps frames [B,T,F] and a mask [B,T] to a descriptor [B,D]."""


def build_model(model: ModelConfig, dataset: DatasetConfig, precision: str = "float32") -> "keras.Model":
    """Build a Keras model for a dataset.

    Args:
        model: the pooling family, its settings and those of the classifier.
        dataset: declares the features, in the order in which they are concatenated, and the number of classes V.
        precision: the Keras dtype policy of the layers, `float32` or `mixed_bfloat16`; probabilities are always
            float32.

    Returns:
        A model from `{"frames": [B,T,F], "num_frames": int32 [B]}` (frames as stored: uint8,
        float16 or float32) to probabilities float32 [B,V].

    Raises:
        ConfigError: a setting does not fit the dataset.
    """
    from pipeline.models.classifier import build_classifier

    return build_classifier(model, dataset, precision)


def load_model(path: Path) -> "keras.Model":
    """Load the model that training stored in a `.keras` file.

    Raises:
        StageError: the file is damaged, holds something else, or describes a larger model than it has the weights of.
    """
    import keras

    from pipeline.models.bounded import at_most

    for module in {target.partition(":")[0] for target in _MODULES.values()} | {"classifier"}:
        importlib.import_module(f"{__name__}.{module}")  # this registers the layers by name
    try:
        size = path.stat().st_size
        with at_most(size, size):
            return keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises many kinds, and what a stranger's file makes of it is not known
        reason = " ".join(str(error).split())[:300]
        raise StageError(
            f"{path} cannot be loaded as a model ({type(error).__name__}: {reason}): train its run anew with --force"
        ) from error
