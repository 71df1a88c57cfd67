"""A model for training that reports its layers' penalties beside the loss."""

import keras

from pipeline.training.feeding import as_tf_dataset


class PenalizedModel(keras.Model):
    """A model with the layers of `model`, whose `fit` also reports the mean of each penalty that they add to the loss.

    A penalty is named after the feature and the penalty, such as `rgb_center_sparsity`. The attribute `penalties` of a
    layer lists those that its `call` adds, in order. The means are taken here because on JAX a metric that is updated
    within `call` loses its state.
    """

    def __init__(self, model: keras.Model):
        super().__init__(model.input, model.output, name=model.name)
        self.penalties = [
            keras.metrics.Mean(name=f"{layer.name.removesuffix('_pooling')}_{penalty}")
            for layer in self.layers
            for penalty in getattr(layer, "penalties", ())
        ]

    def fit(self, x=None, *arguments, **settings):
        if isinstance(x, keras.utils.PyDataset):  # its batches are in random order already
            x, settings = as_tf_dataset(x), settings | {"shuffle": False}
        return super().fit(x, *arguments, **settings)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if training:
            # The losses that layers add come first, in the layers' order; the regularizers follow.
            for mean, term in zip(self.penalties, self.losses):
                mean.update_state(term)
        return loss
