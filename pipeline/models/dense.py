"""The dense layer of descriptors: few rows, many weights."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="pipeline")
class DescriptorDense(keras.layers.Dense):
    """x [B,D] -> x W + b, [B,N]; Keras's layer but for the order in which the gradient by x is computed.

    It is (W dy^T)^T in place of dy W^T: with few rows and many float32 weights oneDNN takes up to four times as long
    for the latter.
    """

    def call(self, values, training=None):
        kernel = ops.reshape(self.kernel, self.kernel.shape)  # a tensor, in the type to compute with
        outputs = _product(values, kernel)
        if self.bias is not None:
            outputs = ops.add(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)


@ops.custom_gradient
def _product(values, kernel):
    """[B,D], [D,N] -> [B,N]"""

    def gradient(*arguments, upstream=None):
        if upstream is None:
            (upstream,) = arguments
        by_values = ops.transpose(ops.matmul(kernel, ops.transpose(upstream)))  # B,D
        return by_values, ops.matmul(ops.transpose(values), upstream)

    return ops.matmul(values, kernel), gradient
