"""Dense layers whose gradients are taken in the faster order: of descriptors, and of frames."""

import keras
from keras import ops

from pipeline.models.layers.custom_gradient import custom_gradient


class _Dense(keras.layers.Dense):
    """Keras's layer, but for how it multiplies: by a descendant's `product(values [..,D], kernel [D,N])`, [..,N]."""

    def call(self, values, training=None):
        kernel = ops.reshape(self.kernel, self.kernel.shape)  # a tensor, in the type to compute with
        outputs = self.product(values, kernel)
        if self.bias is not None:
            outputs = ops.add(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)


@keras.saving.register_keras_serializable(package="pipeline")
class DescriptorDense(_Dense):
    """x [B,D] -> x W + b, [B,N]: few rows, many weights.

    The gradient by x is (W dy^T)^T in place of dy W^T: with few rows and many float32 weights oneDNN takes up to four
    times as long for the latter.
    """

    def product(self, values, kernel):
        return _of_descriptors(values, kernel)


@keras.saving.register_keras_serializable(package="pipeline")
class FrameDense(_Dense):
    """x [B,T,F] -> x W + b, [B,T,N]: many rows.

    The gradient by W is (dy^T x)^T in place of x^T dy: with some N, 3000 for one, oneDNN takes half as long again for
    the latter in bfloat16; with the others both take the same time.
    """

    def product(self, values, kernel):
        rows = ops.reshape(values, (-1, values.shape[-1]))  # BT,F
        return ops.reshape(_of_frames(rows, kernel), (-1, *ops.shape(values)[1:-1], self.units))


@custom_gradient
def _of_descriptors(values, kernel):
    """[B,D], [D,N] -> [B,N]"""

    def gradient(upstream):
        by_values = ops.transpose(ops.matmul(kernel, ops.transpose(upstream)))  # B,D
        return by_values, ops.matmul(ops.transpose(values), upstream)

    return ops.matmul(values, kernel), gradient


@custom_gradient
def _of_frames(rows, kernel):
    """[BT,F], [F,N] -> [BT,N]"""

    def gradient(upstream):
        by_kernel = ops.transpose(ops.matmul(ops.transpose(upstream), rows))  # F,N
        return ops.matmul(upstream, ops.transpose(kernel)), by_kernel

    return ops.matmul(rows, kernel), gradient
