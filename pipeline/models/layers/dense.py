"""Dense layers for descriptors and for frames whose gradients multiply in the faster order."""

import keras
from keras import ops

from pipeline.models.layers.custom_gradient import custom_gradient


class _Dense(keras.layers.Dense):
    """Keras's Dense, except that a subclass multiplies by its `product(values [..,D], kernel [D,N])` -> [..,N]."""

    def call(self, values, training=None):
        kernel = ops.reshape(self.kernel, self.kernel.shape)  # reshaping gives a tensor in the compute dtype
        outputs = self.product(values, kernel)
        if self.bias is not None:
            outputs = ops.add(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)


@keras.saving.register_keras_serializable(package="pipeline")
class DescriptorDense(_Dense):
    """x [B,D] -> x W + b, [B,N], for few rows and many weights.

    The gradient by x is computed as (W dy^T)^T and not as dy W^T. With few rows and many float32 weights, oneDNN takes
    up to four times as long for the latter.
    """

    def product(self, values, kernel):
        return _of_descriptors(values, kernel)


@keras.saving.register_keras_serializable(package="pipeline")
class FrameDense(_Dense):
    """x [B,T,F] -> x W + b, [B,T,N], for many rows.

    The gradient by W is computed as (dy^T x)^T and not as x^T dy. In bfloat16, oneDNN takes half as long again for the
    latter with some N, such as 3000; with others both take the same time.
    """

    def product(self, values, kernel):
        rows = ops.reshape(values, (-1, values.shape[-1]))  # BT,F
        return ops.reshape(_of_frames(rows, kernel), (-1, *ops.shape(values)[1:-1], self.units))


@custom_gradient
def _of_descriptors(values, kernel):
    """values [B,D], kernel [D,N] -> their product [B,N]."""

    def gradient(upstream):
        by_values = ops.transpose(ops.matmul(kernel, ops.transpose(upstream)))  # B,D
        return by_values, ops.matmul(ops.transpose(values), upstream)

    return ops.matmul(values, kernel), gradient


@custom_gradient
def _of_frames(rows, kernel):
    """rows [BT,F], kernel [F,N] -> their product [BT,N]."""

    def gradient(upstream):
        by_kernel = ops.transpose(ops.matmul(ops.transpose(upstream), rows))  # F,N
        return ops.matmul(upstream, ops.transpose(kernel)), by_kernel

    return ops.matmul(rows, kernel), gradient
