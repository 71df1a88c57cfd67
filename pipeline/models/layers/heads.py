"""Heads: map a video's descriptor to a probability for each class."""

import keras
from keras import ops

from pipeline.models.layers.custom_gradient import custom_gradient
from pipeline.models.layers.dense import DescriptorDense


@keras.saving.register_keras_serializable(package="pipeline")
class MixtureOfExperts(keras.layers.Layer):
    """descriptor [B,D] -> probabilities float32 [B,V]: p_v = sum_{e<=E} gate_ve sigmoid(expert_ve).

    Each class has a softmax gate over E experts and a dummy expert that always says 0. All kernels have an L2 penalty.
    Parameters: (2E+1) D V + E V. Sources: Jordan, Jacobs 1994; Abu-El-Haija et al. 2016.
    """

    def __init__(self, num_classes: int, experts: int = 2, l2: float = 1e-6, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.experts = experts
        self.l2 = l2
        self.gate = DescriptorDense(
            (experts + 1) * num_classes,
            use_bias=False,
            kernel_regularizer=_l2(l2),
            dtype=self.dtype_policy,
            name="gate",
        )
        self.expert = DescriptorDense(
            experts * num_classes, kernel_regularizer=_l2(l2), dtype=self.dtype_policy, name="expert"
        )

    def build(self, shape):
        self.gate.build(shape)
        self.expert.build(shape)

    def call(self, descriptor):
        gates, experts = ops.cast(self.gate(descriptor), "float32"), ops.cast(self.expert(descriptor), "float32")
        gates = ops.reshape(gates, (-1, self.experts + 1, self.num_classes))  # B,E+1,V
        return _mixture(gates, ops.reshape(experts, (-1, self.experts, self.num_classes)))  # B,V

    def compute_output_shape(self, shape):
        return (shape[0], self.num_classes)

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes, "experts": self.experts, "l2": self.l2}


@keras.saving.register_keras_serializable(package="pipeline")
class Logistic(keras.layers.Layer):
    """descriptor [B,D] -> probabilities float32 [B,V]: a logistic regression for each class, with L2 on the kernel."""

    def __init__(self, num_classes: int, l2: float = 1e-6, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.l2 = l2
        self.logits = DescriptorDense(num_classes, kernel_regularizer=_l2(l2), dtype=self.dtype_policy, name="logits")

    def build(self, shape):
        self.logits.build(shape)

    def call(self, descriptor):
        return ops.sigmoid(ops.cast(self.logits(descriptor), "float32"))  # B,V

    def compute_output_shape(self, shape):
        return (shape[0], self.num_classes)

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes, "l2": self.l2}


@keras.saving.register_keras_serializable(package="pipeline")
class Softmax(Logistic):
    """descriptor [B,D] -> probabilities float32 [B,V] that sum to 1: multinomial logistic regression, L2 on the kernel.

    For videos of exactly one class. The parameters are those of `Logistic`, and so is their number: (D+1) V.
    """

    def call(self, descriptor):
        return ops.softmax(ops.cast(self.logits(descriptor), "float32"))  # B,V


@custom_gradient
def _mixture(gates, experts):
    """logits of the gates [B,E+1,V] and of the experts [B,E,V] -> p [B,V].

    With w the gates' softmax and s the experts' sigmoids, dp / dgate_e = w_e (s_e - p), where s is 0 for the dummy, and
    dp / dexpert_e = w_e s_e (1 - s_e). Written out by hand, these take a third of the time of automatic gradients.
    """
    weights = ops.exp(gates - ops.max(gates, axis=1, keepdims=True))
    weights = weights / ops.sum(weights, axis=1, keepdims=True)  # B,E+1,V
    values = ops.sigmoid(experts)  # B,E,V
    parts = weights[:, :-1] * values
    probabilities = ops.sum(parts, axis=1)  # B,V

    def gradient(upstream):
        upstream = upstream[:, None]  # B,1,V
        padded = ops.concatenate([parts, ops.zeros_like(upstream)], axis=1)
        by_gates = (padded - weights * probabilities[:, None]) * upstream  # B,E+1,V
        return by_gates, parts * (1 - values) * upstream

    return probabilities, gradient


def _l2(strength: float):
    return L2(strength) if strength else None


@keras.saving.register_keras_serializable(package="pipeline")
class L2(keras.regularizers.L2):
    """weights -> l2 sum w^2, with the gradient 2 l2 w; each takes one pass over the weights, and Keras's takes six."""

    def __call__(self, weights):
        return self.l2 * _square(ops.reshape(weights, (1, -1)))


@custom_gradient
def _square(row):
    """row v [1,N] -> v v^T, a scalar."""

    def gradient(upstream):
        return 2 * upstream * row

    return ops.squeeze(ops.matmul(row, ops.transpose(row))), gradient
