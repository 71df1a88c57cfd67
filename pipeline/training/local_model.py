"""A model that hosts train together, predicting on the devices of one host alone."""

from typing import TYPE_CHECKING

import keras
import numpy as np

if TYPE_CHECKING:
    import jax


class LocalModel:
    """Predicts with the weights that `model` has at the time, without the other hosts.

    Every device has all weights, so that none are copied: arrays of all hosts are taken for arrays of this one.

    Args:
        model: a Keras model whose weights are on the devices of several hosts, under `DataParallel`.
    """

    def __init__(self, model: keras.Model):
        import jax  # only now: without several hosts it may not be the backend
        from jax.sharding import Mesh, NamedSharding, PartitionSpec

        self._model = model
        mesh = model.variables[0].value.sharding.mesh
        own = [device for device in mesh.devices.flat if device.process_index == jax.process_index()]
        own_mesh = Mesh(np.array(own), ("videos",))
        self._whole, self._shared = (
            NamedSharding(own_mesh, PartitionSpec()),
            NamedSharding(own_mesh, PartitionSpec("videos")),
        )
        self._predict = jax.jit(lambda *state: model.stateless_call(*state, training=False)[0])

    def predict_on_batch(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Return the probabilities of a batch, float32 [B,V]; B is a multiple of the host's devices."""
        import jax

        trained, others = self._model.trainable_variables, self._model.non_trainable_variables
        shown = {name: jax.device_put(values, self._shared) for name, values in inputs.items()}
        return np.asarray(self._predict([*map(self._own, trained)], [*map(self._own, others)], shown))

    def _own(self, variable: keras.Variable) -> "jax.Array":
        import jax

        pieces = [shard.data for shard in variable.value.addressable_shards]
        return jax.make_array_from_single_device_arrays(variable.shape, self._whole, pieces)
