"""A model: its pooling, and the classifier around it."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pipeline.config.checked import CheckedFields
from pipeline.config.errors import ConfigError, find_by_name
from pipeline.config.pooling import POOLING, NetVLADConfig, PoolingConfig
from pipeline.config.ranges import LARGEST_SIZE, Scale, Share, Size, Within


@dataclass(frozen=True)
class ClassifierConfig(CheckedFields, section="classifier"):
    """Everything around the pooling, the same for all families."""

    input_batch_norm: bool = True
    """Batch norm of each feature, over valid frames, before it is pooled."""
    frame_dropout: Share = 0.0
    """Share of a video's valid frames left out in training; one is always kept."""
    feature_noise: Annotated[float, Within(0, 100)] = 0.0
    """Standard deviation of the noise added to each value of a frame in training, after batch norm."""
    descriptor_batch_norm: bool = False
    """Batch norm of the pooled descriptor."""
    hidden: Annotated[int, Within(0, LARGEST_SIZE)] = 1024
    """Size of the video descriptor; 0 gives the pooled features to the head as they are."""
    activation: Literal["none", "relu"] = "relu"
    gating: Literal["none", "context", "squeeze_excite"] = "context"
    """Gating of the descriptor."""
    dropout: Share = 0.0
    """Share of the pooled descriptor dropped in training."""
    head: Literal["moe", "logistic"] = "moe"
    experts: Annotated[int, Within(1, 1024)] = 2
    """Experts a class, beside the dummy that says 0 (head moe)."""
    head_hidden: tuple[Size, ...] = ()
    """Hidden layers (dense, batch norm, ReLU, dropout) before the head's last one."""
    head_dropout: Share = 0.0
    """Dropout after each of them."""
    head_l2: Scale = 1e-6
    """Scale of the sum of the squared weights of the head, which is added to the loss."""
    output_gating: Literal["none", "context"] = "none"
    """Gating of the probabilities."""


@dataclass(frozen=True)
class ModelConfig(CheckedFields, section="model"):
    """A pooling family, its settings, and the classifier around it."""

    family: str = "netvlad"
    pooling: PoolingConfig = field(default_factory=NetVLADConfig)
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)

    def check_together(self) -> None:
        expected = find_by_name(self.family, POOLING, "pooling family")
        if type(self.pooling) is not expected:
            raise ConfigError(f"family {self.family} takes {expected.__name__}, not {type(self.pooling).__name__}")
