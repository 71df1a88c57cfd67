"""Recurrent pooling: the last states of a bidirectional LSTM or GRU, which learned pooling was shown to beat."""

import keras
from keras import ops

from pipeline.models.pooling import Pooling

_CELLS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}


@keras.saving.register_keras_serializable(package="pipeline")
class Recurrent(Pooling):
    """frames [B,T,F], mask [B,T] -> descriptor [B,2U]: the last state of the forward and of the backward pass.

        lstm: i, f, g, o = x_t W + h R + b      c <- sigmoid(f) c + sigmoid(i) tanh(g)      h <- sigmoid(o) tanh(c)
        gru:  z, r = sigmoid(x_t W + b + h R + b')      h <- z h + (1 - z) tanh(x_t W + b + r (h R + b'))

    (W, R, b and b' have a block of columns for each of the gates named. The GRU's reset gate acts after the product
    with R, which is the form that cuDNN computes.) A video without a valid frame gives 0.

    Each direction reads the frames in its own order, valid frames first, and returns the state after the last valid
    one. So the recurrence itself needs no mask: any mask is allowed, even one that cuDNN does not support, and Keras
    can still use cuDNN. The recurrence is float32 under any policy, since a bfloat16 state forgets whatever is below
    1/256 of it.

    Parameters: lstm 8U(F + U + 1), gru 6U(F + U + 2). A video costs 16TU(F + U) FLOPs (gru: 12TU(F + U)) in T steps
    that wait for each other, and keeps 2T(6U + F) float32 values for the gradient (gru: 2T(5U + F)).

    Sources: Hochreiter, Schmidhuber 1997; Cho et al. 2014; Schuster, Paliwal 1997 (both directions). For videos:
    Abu-El-Haija et al. 2016 (LSTM); Miech, Laptev, Sivic 2017 (LSTM and GRU beside learned pooling).
    """

    source = "Hochreiter, Schmidhuber 1997; Cho et al. 2014"
    scale_matters = False

    def __init__(self, cell: str = "lstm", units: int = 1024, **kwargs):
        super().__init__(**kwargs)
        if cell not in _CELLS:
            raise ValueError(f"cell must be lstm or gru, not {cell!r}")
        self.cell = cell
        self.units = units
        self.forwards = _CELLS[cell](units, return_sequences=True, dtype="float32", name="forwards")
        self.backwards = _CELLS[cell](units, return_sequences=True, dtype="float32", name="backwards")

    def build(self, frames_shape):
        self.forwards.build(frames_shape)
        self.backwards.build(frames_shape)

    def call(self, frames, mask, training=False):
        videos, length = ops.shape(frames)[0], ops.shape(frames)[1]
        valid = mask > 0  # B,T
        position = ops.arange(length, dtype="int32")  # T
        # Where each video begins among the rows of all videos, so that any backend gathers whole rows.
        start = ops.arange(videos, dtype="int32")[:, None] * length  # B,1
        count = ops.sum(ops.cast(valid, "int32"), axis=1, keepdims=True)  # B,1
        last = start + ops.maximum(count, 1) - 1  # B,1
        states = []
        for layer, key in ((self.forwards, position), (self.backwards, length - 1 - position)):
            order = ops.argsort(ops.where(valid, key, length + position), axis=1)  # B,T
            outputs = layer(_rows(frames, start + ops.cast(order, "int32")), training=training)  # B,T,U
            states.append(_rows(outputs, last)[:, 0])  # B,U
        descriptor = ops.concatenate(states, axis=-1) * ops.cast(count > 0, "float32")  # B,2U
        return ops.cast(descriptor, self.compute_dtype)

    def compute_output_shape(self, frames_shape):
        return (frames_shape[0], 2 * self.units)

    def get_config(self):
        return {**super().get_config(), "cell": self.cell, "units": self.units}


def _rows(values, index):
    """values [B,T,D], index [B,N] among all B x T rows -> those rows [B,N,D]."""
    return ops.take(ops.reshape(values, (-1, values.shape[-1])), index, axis=0)
