"""Batches on their way into `fit`: on TensorFlow through tf.data, without the thread that tunes it."""

import itertools
from typing import Any

import keras


def as_tf_dataset(batches: keras.utils.PyDataset) -> Any:
    """The same batches for one epoch, as `fit` takes them best. All have the shapes of the first.

    On TensorFlow Keras makes a tf.data.Dataset of a PyDataset. Left to Keras that has a thread that tunes it, sleeping
    in between for 10 ms, 20 ms and so on up to a minute, and `fit` may wait at its end until the thread wakes: for as
    long as it has taken so far. Keras also reads two batches to see their shapes, and then once more.
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
