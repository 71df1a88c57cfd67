"""Settings of a model: its pooling family, and the classifier around the pooling."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pipeline.config.checked import CheckedFields
from pipeline.config.errors import ConfigError, find_by_name
from pipeline.config.pooling import POOLING, NetVLADConfig, PoolingConfig
from pipeline.config.ranges import LARGEST_SIZE, Scale, Share, Size, Within


@dataclass(frozen=True)
class ClassifierConfig(CheckedFields, section="classifier"):
    """The layers before and after the pooling, which are the same for all pooling families."""

    input_batch_norm: bool = True
    """Batch normalization of each feature over the valid frames, before pooling."""
    frame_dropout: Share = 0.0
    """Frame dropout rate: share of a video's valid frames left out at random in training; one is always kept."""
    feature_noise: Annotated[float, Within(0, 100)] = 0.0
    """Standard deviation of the Gaussian noise added to each value of a frame in training, after batch norm."""
    descriptor_batch_norm: bool = False
    """Batch normalization of the pooled descriptor, which joins the pooled features."""
    hidden: Annotated[int, Within(0, LARGEST_SIZE)] = 1024
    """Size of the hidden layer that turns the pooled features into the video descriptor.
    0 leaves the layer out: the pooled features are the descriptor. A larger one has more parameters."""
    activation: Literal["none", "relu"] = "relu"
    """Activation function of the hidden layer."""
    gating: Literal["none", "context", "squeeze_excite"] = "context"
    """Gating of the descriptor: each value is multiplied by a weight from 0 to 1, computed from the whole descriptor.
    context uses a full matrix, squeeze_excite a bottleneck with fewer parameters; none is no gating."""
    dropout: Share = 0.0
    """Dropout rate: share of the pooled descriptor's values dropped in training."""
    head: Literal["moe", "logistic", "softmax"] = "moe"
    """Last layer, which gives each class a probability: a mixture of experts (moe), or a logistic regression.
    softmax: the probabilities sum to 1, as one class applies to each video; for --dataset.task single_label alone."""
    experts: Annotated[int, Within(1, 1024)] = 2
    """Number of experts for each class with head moe, not counting a dummy expert that always says 0."""
    head_hidden: tuple[Size, ...] = ()
    """Sizes of further hidden layers before the last layer, as many as there are values; by default there are none.
    Each is a dense layer with batch norm, ReLU and dropout."""
    head_dropout: Share = 0.0
    """Dropout rate after each of the layers of head-hidden."""
    head_l2: Scale = 1e-6
    """L2 penalty: this number times the sum of the head's squared weights is added to the loss."""
    output_gating: Literal["none", "context"] = "none"
    """Gating of the probabilities: context multiplies each by a weight from 0 to 1, computed from all of them."""


@dataclass(frozen=True)
class ModelConfig(CheckedFields, section="model"):
    """A pooling family, its settings, and the classifier around it."""

    family: str = "netvlad"
    """Name of the pooling family: a key of `POOLING`."""
    pooling: PoolingConfig = field(default_factory=NetVLADConfig)
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)

    def check_together(self) -> None:
        expected = find_by_name(self.family, POOLING, "pooling family")
        if type(self.pooling) is not expected:
            raise ConfigError(
                f"family {self.family} takes {expected.__name__}, not {type(self.pooling).__name__}: change "
                "model.family or model.pooling"
            )
