"""Feed batches to `fit`: on TensorFlow through tf.data, without its autotuning thread."""

import itertools
from typing import Any

import keras


def as_tf_dataset(batches: keras.utils.PyDataset) -> Any:
    """Return the batches of one epoch in the form that suits `fit` best. All must have the shapes of the first batch.

    On TensorFlow, Keras turns a PyDataset into a tf.data.Dataset. The one that Keras makes has an autotuning thread,
    which sleeps for 10 ms, 20 ms and so on up to a minute. `fit` may have to wait at its end until the thread wakes,
    for as long as it has run so far. Keras also reads two batches to learn their shapes, and later reads them again.
    """
    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    found = map(batches.__getitem__, range(len(batches)))
    first = next(found)
    kinds = tf.nest.map_structure(lambda array: tf.TensorSpec(array.shape, array.dtype), first)
    every = itertools.chain([first], found)
    dataset = tf.data.Dataset.from_generator(lambda: every, output_signature=kinds)
    options = tf.data.Options()
    options.autotune.enabled = False
    known = tf.data.experimental.assert_cardinality(len(batches))
    return dataset.apply(known).prefetch(1).with_options(options)
