"""Settings of each pooling family. The defaults suit YouTube-8M, and are fitted to other features."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pipeline.config.checked import CheckedFields
from pipeline.config.errors import ConfigError
from pipeline.config.ranges import Scale, Share, Sizes, Within

T = TypeVar("T", bound="PoolingConfig")


def by_feature(*values: int) -> dict[str, tuple[int, ...]]:
    """Metadata of a field with a default by feature: one for the first, another one for each other, or one for all.

    The field itself is empty until `PoolingConfig.fitted` knows the features.
    """
    return {"by feature": values}


@dataclass(frozen=True)
class PoolingConfig(CheckedFields, section="pooling"):
    """The settings of a pooling family, which are the arguments of its layer.

    A tuple holds one value for each feature, in the dataset's order, or a single value for all of them. An empty one
    stands for the family's defaults.
    """

    batch_norm: ClassVar[bool] = True
    """Whether the family's layer has batch norm, over the frames or over the videos of a pass."""

    def fitted(self: T, sizes: Sequence[int]) -> T:
        """Return the same settings with the family's defaults for features of these sizes where a tuple is empty."""
        chosen = {}
        for each in dataclasses.fields(self):
            if getattr(self, each.name) == () and "by feature" in each.metadata:
                values = each.metadata["by feature"]
                of_each = zip(sizes, itertools.chain(values, itertools.repeat(values[-1])))
                fitting = tuple(self.fit(each.name, value, size) for size, value in of_each)
                chosen[each.name] = fitting if len(values) > 1 else values
        return dataclasses.replace(self, **chosen) if chosen else self

    def fit(self, name: str, value: int, size: int) -> int:
        """Return the default of a setting for a feature of this size, given what it is in YouTube-8M."""
        return value

    def of_feature(self, feature: int, features: int) -> dict[str, Any]:
        """Return the arguments of one feature's layer: from each tuple the value of that feature, or the only value.

        Raises:
            ConfigError: a tuple has neither one value nor one for each feature.
        """
        chosen = {}
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if isinstance(value, tuple):
                if len(value) not in (1, features):
                    raise ConfigError(
                        f"{self.flag(each.name)} has {len(value)} values for {features} features: give one value, or "
                        "one each"
                    )
                value = value[feature if len(value) > 1 else 0]
            chosen[each.name] = value
        return chosen

    @staticmethod
    def misfit(size: int, settings: dict[str, Any]) -> str:
        """Say why a layer with these settings cannot pool frames of `size` values; empty if it can."""
        return ""


class _OfHeads(PoolingConfig):
    """Base of the families with multi-head attention, whose heads divide the values of a frame among them."""

    def fit(self, name: str, value: int, size: int) -> int:
        return math.gcd(value, size) if name == "heads" else value

    @staticmethod
    def misfit(size: int, settings: dict[str, Any]) -> str:
        heads = settings["heads"]
        return f"{heads} heads do not divide a row of {size} values" if size % heads else ""


@dataclass(frozen=True)
class AverageConfig(PoolingConfig):
    """Statistics of the valid frames, without learned weights."""

    batch_norm = False

    statistics: Literal["mean", "mean_std_max"] = "mean"
    """Statistics of each value over the frames: its mean, or its mean, standard deviation and maximum side by side."""


@dataclass(frozen=True)
class DBoFConfig(PoolingConfig):
    """Deep bag of frames: frames are projected to many units, and each unit's maximum or mean over frames is taken."""

    clusters: Sizes = field(default=(), metadata=by_feature(8192, 2048))
    """Number of units that a frame is projected to: one value per feature, or one for all.
    The descriptor has as many values."""
    statistic: Literal["max", "mean"] = "max"
    """Statistic that is taken of each unit over the frames."""


@dataclass(frozen=True)
class SoftDBoFConfig(PoolingConfig):
    """Soft bag of frames: how much of a video belongs to each cluster."""

    clusters: Sizes = field(default=(), metadata=by_feature(8000, 2000))
    """Number of clusters, and size of the descriptor: one value per feature, or one for all."""


@dataclass(frozen=True)
class NetVLADConfig(PoolingConfig):
    """NetVLAD: frames are softly assigned to clusters, and each cluster sums their residuals to its center."""

    clusters: Sizes = field(default=(), metadata=by_feature(256, 64))
    """Number of clusters: one value per feature, or one for all. The descriptor is this times a frame's size."""


@dataclass(frozen=True)
class NetRVLADConfig(PoolingConfig):
    """NetRVLAD: NetVLAD without the residuals; each cluster sums the frames themselves."""

    clusters: Sizes = field(default=(), metadata=by_feature(256, 64))
    """Number of clusters: one value per feature, or one for all. The descriptor is this times a frame's size."""


@dataclass(frozen=True)
class NetFVConfig(PoolingConfig):
    """Fisher vectors: first and second order of the residuals, in units of learned widths."""

    clusters: Sizes = field(default=(), metadata=by_feature(128, 32))
    """Number of clusters: one value per feature, or one for all. The descriptor is twice this times a frame's size."""


@dataclass(frozen=True)
class AttentionClusterConfig(PoolingConfig):
    """Clusters that each have their own attention over the frames, kept apart by the shifting operation."""

    clusters: Sizes = field(default=(), metadata=by_feature(256, 64))
    """Number of clusters: one value per feature, or one for all. The descriptor is this times a frame's size."""
    hidden: Sizes = field(default=(), metadata=by_feature(256, 64))
    """Size of the hidden layer of the network that computes the attention: one value per feature, or one for all."""


@dataclass(frozen=True)
class AttentionEnhancedNetVLADConfig(_OfHeads):
    """NetVLAD between two transformer encoders, the first over frames, the second over clusters."""

    clusters: Sizes = field(default=(), metadata=by_feature(256, 64))
    """Number of clusters: one value per feature, or one for all. The descriptor is this times a frame's size."""
    heads: Sizes = field(default=(), metadata=by_feature(64, 8))
    """Number of attention heads, a divisor of the feature's size: one value per feature, or one for all."""
    dropout: Share = 0.1
    """Dropout rate within the encoders."""


@dataclass(frozen=True)
class AttentionNetVLADConfig(_OfHeads):
    """NetVLAD whose assignments are the output of a transformer encoder."""

    clusters: Sizes = field(default=(), metadata=by_feature(256, 64))
    """Number of clusters: one value per feature, or one for all. The descriptor is this times a frame's size."""
    heads: Sizes = field(default=(), metadata=by_feature(64, 8))
    """Number of attention heads, a divisor of the feature's size: one value per feature, or one for all."""
    encoders: Literal[1, 2] = 2
    """Number of encoders. 2: one over the frames, then the one that assigns, as in the paper. 1: only the latter."""
    dropout: Share = 0.1
    """Dropout rate within the encoders."""


@dataclass(frozen=True)
class SecondOrderConfig(PoolingConfig):
    """First and second order of triangulation embeddings, whitened for each cluster."""

    clusters: Sizes = field(default=(), metadata=by_feature(64, 16))
    """Number of clusters: one value per feature, or one for all."""
    projection: Sizes = field(default=(), metadata=by_feature(64, 32))
    """Size that frames are projected to for the second order: one value per feature, or one for all.
    The descriptor grows with its square."""
    first_whitening: Literal["none", "diagonal"] = "diagonal"
    """Whitening of the first order. diagonal: each value is divided by its standard deviation."""
    second_whitening: Literal["none", "diagonal", "zca"] = "zca"
    """Whitening of the second order. diagonal: as in the first. zca: values are decorrelated too."""
    democratic: bool = False
    """Weigh frames so that each contributes equally to the sum, however many others are like it."""
    center_orthogonality: Scale = 0.0
    """Weight in the loss of the penalty on centers that are not orthogonal; 0 leaves it out."""
    center_sparsity: Scale = 0.0
    """Weight in the loss of the L1 norm of the centers, which makes them sparse; 0 leaves it out."""
    assignment_entropy: Scale = 0.0
    """Weight in the loss of the mean entropy of a frame's assignments; 0 leaves it out."""
    tangent_validity: Scale = 0.0
    """Weight in the loss of the mean squared distance of a frame from the mean of its centers; 0 leaves it out."""


@dataclass(frozen=True)
class NeXtVLADConfig(PoolingConfig):
    """NetVLAD over groups of an expanded frame, with attention over the groups."""

    clusters: Sizes = field(default=(), metadata=by_feature(128, 64))
    """Number of clusters: one value per feature, or one for all. The descriptor grows with it."""
    groups: Sizes = field(default=(), metadata=by_feature(8, 4))
    """Number of groups that an expanded frame is cut into, a divisor of its size: one per feature, or one for all.
    More groups make the descriptor smaller."""
    expansion: Annotated[int, Within(1, 1024)] = 2
    """Factor by which a frame's size is expanded before it is cut into groups."""
    dropout: Share = 0.5
    """Dropout rate: share of the descriptor's values dropped in training."""

    def fit(self, name: str, value: int, size: int) -> int:
        return math.gcd(value, self.expansion * size) if name == "groups" else value

    @staticmethod
    def misfit(size: int, settings: dict[str, Any]) -> str:
        groups, expansion = settings["groups"], settings["expansion"]
        if (expanded := expansion * size) % groups:
            return f"{groups} groups do not divide a frame of {expanded} values ({size} expanded {expansion} times)"
        return ""


@dataclass(frozen=True)
class RecurrentConfig(PoolingConfig):
    """The last states of a bidirectional recurrent network."""

    batch_norm = False

    cell: Literal["lstm", "gru"] = "lstm"
    """Recurrent cell. gru has fewer parameters."""
    units: Sizes = field(default=(), metadata=by_feature(1024, 256))
    """Number of units in each direction: one value per feature, or one for all. The descriptor is twice as large."""


@dataclass(frozen=True)
class LatentAttentionConfig(_OfHeads):
    """Learned queries that attend to the frames and to each other."""

    latents: Sizes = field(default=(), metadata=by_feature(64))
    """Number of learned queries (latents): one value per feature, or one for all."""
    heads: Sizes = field(default=(), metadata=by_feature(16, 2))
    """Number of attention heads, a divisor of the feature's size: one value per feature, or one for all."""
    blocks: Annotated[int, Within(0, 1000)] = 2
    """Number of blocks of self-attention between the latents; 0 lets them attend to the frames alone."""
    dropout: Share = 0.1
    """Dropout rate within the encoders."""


POOLING: dict[str, type[PoolingConfig]] = {
    "average": AverageConfig,
    "dbof": DBoFConfig,
    "soft_dbof": SoftDBoFConfig,
    "netvlad": NetVLADConfig,
    "netrvlad": NetRVLADConfig,
    "netfv": NetFVConfig,
    "nextvlad": NeXtVLADConfig,
    "attention_cluster": AttentionClusterConfig,
    "attention_enhanced_netvlad": AttentionEnhancedNetVLADConfig,
    "attention_netvlad": AttentionNetVLADConfig,
    "second_order": SecondOrderConfig,
    "recurrent": RecurrentConfig,
    "latent_attention": LatentAttentionConfig,
}
