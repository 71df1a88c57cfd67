"""The loss: cross-entropy, averaged over videos; summed over classes that exclude nothing, or of one class of all."""

import keras
from keras import ops

from pipeline.models.layers.heads import Softmax

# This keeps the logarithm finite; the challenge's starter code adds the same number.
EPSILON = 1e-5
# A softmax reaches smaller numbers, and a number that is not far below them would stop learning where it is most wrong.
_LEAST = 1e-30


def loss_of(model: keras.Model, label_smoothing: float) -> keras.losses.Loss:
    """Return the loss that fits the head of a model of `pipeline.models`."""
    head = model.get_layer("head")
    kind = SoftmaxCrossentropy if isinstance(head, Softmax) else SummedBinaryCrossentropy
    return kind(label_smoothing)


class _Smoothing(keras.losses.Loss):
    """A loss with label smoothing, a share from 0 to below 1."""

    def __init__(self, label_smoothing: float = 0.0, name: str = "cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.label_smoothing = label_smoothing

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable(package="pipeline")
class SummedBinaryCrossentropy(_Smoothing):
    """labels [B,V] in [0,1], probabilities [B,V] -> the mean over videos of -sum_v (y log p + (1-y) log(1-p)).

    The sum over classes is the authors' choice; with a mean, clipping and L2 would have to change by a factor of V.
    Label smoothing s moves each label to y (1-s) + s/2.
    """

    def call(self, labels, probabilities):
        labels = ops.cast(labels, probabilities.dtype)
        if self.label_smoothing:
            labels = labels * (1 - self.label_smoothing) + self.label_smoothing / 2
        positive = labels * ops.log(probabilities + EPSILON)
        negative = (1 - labels) * ops.log(1 - probabilities + EPSILON)
        return -ops.sum(positive + negative, axis=-1)  # B


@keras.saving.register_keras_serializable(package="pipeline")
class SoftmaxCrossentropy(_Smoothing):
    """labels [B,V] in [0,1], probabilities [B,V] that sum to 1 -> the mean over videos of -sum_v y log p.

    The labels of a video are scaled to sum to 1 first: those that are mixed with a teacher's may not, if the teacher
    has another head, or keeps its best labels alone. Label smoothing s moves each to y (1-s) + s/V (Szegedy et al.
    2016).
    """

    def call(self, labels, probabilities):
        labels = ops.cast(labels, probabilities.dtype)
        labels = labels / ops.maximum(ops.sum(labels, axis=-1, keepdims=True), _LEAST)
        if self.label_smoothing:
            labels = labels * (1 - self.label_smoothing) + self.label_smoothing / labels.shape[-1]
        return -ops.sum(labels * ops.log(probabilities + _LEAST), axis=-1)  # B
