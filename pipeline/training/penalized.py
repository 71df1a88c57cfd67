"""A model whose layers' penalties are shown beside its loss."""

import keras

from pipeline.training.feeding import as_tf_dataset


class PenalizedModel(keras.Model):
    """The same layers as `model`, for training: `fit` also gives the mean of each penalty that they add to the loss.

    They are named after the feature and the penalty: `rgb_center_sparsity`. A layer says by `penalties` which ones its
    `call` adds, in their order. The means are taken here since JAX keeps nothing that a metric learns within `call`.
    """

    def __init__(self, model: keras.Model):
        super().__init__(model.input, model.output, name=model.name)
        self.penalties = [
            keras.metrics.Mean(name=f"{layer.name.removesuffix('_pooling')}_{penalty}")
            for layer in self.layers
            for penalty in getattr(layer, "penalties", ())
        ]

    def fit(self, x=None, *arguments, **settings):
        if isinstance(x, keras.utils.PyDataset):  # drawn already
            x, settings = as_tf_dataset(x), settings | {"shuffle": False}
        return super().fit(x, *arguments, **settings)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if training:
            # What layers add comes first, in their order, then the regularizers.
            for mean, term in zip(self.penalties, self.losses):
                mean.update_state(term)
        return loss
