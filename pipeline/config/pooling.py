"""Each pooling family's own settings; the defaults are those for YouTube-8M, rgb and audio."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pipeline.config.checked import CheckedFields
from pipeline.config.errors import ConfigError
from pipeline.config.ranges import Scale, Share, Sizes, Within


@dataclass(frozen=True)
class PoolingConfig(CheckedFields, section="pooling"):
    """A pooling family's own settings: the arguments of its layer.

    A tuple holds one value a feature, in the dataset's order, or a single value for all of them.
    """

    batch_norm: ClassVar[bool] = True
    """Whether its layer has batch norm, over the frames or the videos of a pass."""

    def of_feature(self, feature: int, features: int) -> dict[str, Any]:
        """The arguments of one feature's layer: from each tuple that feature's value, or the only one.

        Raises:
            ConfigError: a tuple that has neither one value nor one a feature.
        """
        chosen = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple):
                if len(value) not in (1, features):
                    raise ConfigError(
                        f"{self.flag(field.name)} has {len(value)} values for {features} features: give one value, or "
                        "one each"
                    )
                value = value[feature if len(value) > 1 else 0]
            chosen[field.name] = value
        return chosen

    @staticmethod
    def misfit(size: int, settings: dict[str, Any]) -> str:
        """Why a layer of these settings cannot pool frames of `size` values; empty where it can."""
        return ""


class _OfHeads(PoolingConfig):
    """A family with attention over a frame's values, in heads."""

    @staticmethod
    def misfit(size: int, settings: dict[str, Any]) -> str:
        heads = settings["heads"]
        return f"{heads} heads do not divide a row of {size} values" if size % heads else ""


@dataclass(frozen=True)
class AverageConfig(PoolingConfig):
    """Masked statistics over the frames."""

    batch_norm = False

    statistics: Literal["mean", "mean_std_max"] = "mean"


@dataclass(frozen=True)
class DBoFConfig(PoolingConfig):
    """Deep bag of frames: each frame projected up, the maximum or mean over frames."""

    clusters: Sizes = (8192, 2048)
    """Size of the projection."""
    statistic: Literal["max", "mean"] = "max"


@dataclass(frozen=True)
class SoftDBoFConfig(PoolingConfig):
    """Bag of soft assignments: how much of a video belongs to each cluster."""

    clusters: Sizes = (8000, 2000)


@dataclass(frozen=True)
class NetVLADConfig(PoolingConfig):
    """Soft assignment to clusters, sums of residuals."""

    clusters: Sizes = (256, 64)


@dataclass(frozen=True)
class NetRVLADConfig(PoolingConfig):
    """NetVLAD without the residual: sums of the frames themselves."""

    clusters: Sizes = (256, 64)


@dataclass(frozen=True)
class NetFVConfig(PoolingConfig):
    """Fisher vectors: first and second order of the residuals, with learned widths."""

    clusters: Sizes = (128, 32)


@dataclass(frozen=True)
class AttentionClusterConfig(PoolingConfig):
    """Clusters that each have their own attention over the frames, kept apart by the shifting operation."""

    clusters: Sizes = (256, 64)
    hidden: Sizes = (256, 64)
    """Size of the hidden layer of the network that gives the attention."""


@dataclass(frozen=True)
class AttentionEnhancedNetVLADConfig(_OfHeads):
    """NetVLAD between two transformer encoders, over frames and over clusters."""

    clusters: Sizes = (256, 64)
    heads: Sizes = (64, 8)
    dropout: Share = 0.1
    """Within the encoders."""


@dataclass(frozen=True)
class AttentionNetVLADConfig(_OfHeads):
    """NetVLAD whose assignments are the output of a transformer encoder."""

    clusters: Sizes = (256, 64)
    heads: Sizes = (64, 8)
    encoders: Literal[1, 2] = 2
    """2: one encoder over frames, then the one that assigns, as in the paper. 1: only the latter."""
    dropout: Share = 0.1
    """Within the encoders."""


@dataclass(frozen=True)
class SecondOrderConfig(PoolingConfig):
    """First and second order of triangulation embeddings, whitened for each cluster."""

    clusters: Sizes = (64, 16)
    projection: Sizes = (64, 32)
    """Size to which frames are projected for the second order."""
    first_whitening: Literal["none", "diagonal"] = "diagonal"
    second_whitening: Literal["none", "diagonal", "zca"] = "zca"
    democratic: bool = False
    """Weigh frames so that each has the same say in the sum, however often its like occurs."""
    center_orthogonality: Scale = 0.0
    """Scale of the penalty on centers that are not orthogonal; as the next ones it is added to the loss."""
    center_sparsity: Scale = 0.0
    """Scale of the L1 norm of the centers."""
    assignment_entropy: Scale = 0.0
    """Scale of the mean entropy of a frame's assignments."""
    tangent_validity: Scale = 0.0
    """Scale of the mean squared distance of a frame from the mean of its centers."""


@dataclass(frozen=True)
class NeXtVLADConfig(PoolingConfig):
    """NetVLAD over groups of an expanded frame, with attention over the groups."""

    clusters: Sizes = (128, 64)
    groups: Sizes = (8, 4)
    expansion: Annotated[int, Within(1, 1024)] = 2
    dropout: Share = 0.5
    """Share of the descriptor dropped in training."""

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
    units: Sizes = (1024, 256)
    """Of each direction."""


@dataclass(frozen=True)
class LatentAttentionConfig(_OfHeads):
    """Learned queries that attend to the frames and to each other."""

    latents: Sizes = (64,)
    heads: Sizes = (16, 2)
    blocks: Annotated[int, Within(0, 1000)] = 2
    """Blocks of self-attention between the latents."""
    dropout: Share = 0.1
    """Within the encoders."""


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
