"""Gating: multiply each value of a vector by a sigmoid of the whole vector."""

import keras
from keras import ops

from pipeline.models.layers.dense import DescriptorDense


@keras.saving.register_keras_serializable(package="pipeline")
class ContextGating(keras.layers.Layer):
    """y [B,D] -> y * sigmoid(BN(W y)), [B,D]. Source: Miech, Laptev, Sivic 2017, equation 1. D^2 + 2D parameters."""

    def build(self, shape):
        self.gate = DescriptorDense(shape[-1], use_bias=False, dtype=self.dtype_policy, name="gate")
        self.norm = keras.layers.BatchNormalization(dtype=self.dtype_policy, name="norm")
        self.gate.build(shape)
        self.norm.build(shape)

    def call(self, values, training=False):
        return values * ops.sigmoid(self.norm(self.gate(values), training=training))

    def compute_output_shape(self, shape):
        return shape


@keras.saving.register_keras_serializable(package="pipeline")
class SqueezeExcite(keras.layers.Layer):
    """y [B,D] -> y * sigmoid(W2 ReLU(BN(W1 y)) + b), [B,D], through a bottleneck of D/reduction values.

    Source: Hu, Shen, Sun 2018; Lin, Xiao, Fan 2018, section 3.3. 2D^2/reduction + 2D/reduction + D parameters.
    """

    def __init__(self, reduction: int = 8, **kwargs):
        super().__init__(**kwargs)
        self.reduction = reduction

    def build(self, shape):
        size = max(shape[-1] // self.reduction, 1)
        self.squeeze = DescriptorDense(size, use_bias=False, dtype=self.dtype_policy, name="squeeze")
        self.norm = keras.layers.BatchNormalization(dtype=self.dtype_policy, name="norm")
        self.excite = DescriptorDense(shape[-1], dtype=self.dtype_policy, name="excite")
        self.squeeze.build(shape)
        self.norm.build((shape[0], size))
        self.excite.build((shape[0], size))

    def call(self, values, training=False):
        squeezed = ops.relu(self.norm(self.squeeze(values), training=training))  # B,D/r
        return values * ops.sigmoid(self.excite(squeezed))

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "reduction": self.reduction}
