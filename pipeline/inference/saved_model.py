"""Write an ensemble as a TensorFlow SavedModel that maps stored frames to blended probabilities of all classes."""

from pathlib import Path

import keras

from pipeline.artifacts.files import atomic_folder
from pipeline.artifacts.hidden import visible
from pipeline.config import DatasetConfig, SamplingConfig
from pipeline.config.errors import StageError
from pipeline.ensembling.recipe import Recipe
from pipeline.ensembling.scales import QUANTILES, to_values
from pipeline.inference.ensemble import Ensemble
from pipeline.inputs.reading.sampling import sampled_length

_MARK = "saved_model.pb"


def write_saved_model(ensemble: Ensemble, folder: Path) -> None:
    """Write a SavedModel whose only signature, `serve`, also the default one, is

        frames: the dataset's dtype [B,T,F], all frames of each video, with the features side by side in the dataset's
            order; rows from `num_frames` on are ignored; B and T are free
        num_frames: int32 [B], at least 1
        -> probabilities: float32 [B,V]

    The graph contains each model's own sampling. The blend is dense: a class that a model would not keep among its best
    counts with its own probability, where `infer` takes the smallest that is kept. So only scores that low can differ
    from those of `infer`.

    Raises:
        StageError: the backend is not TensorFlow, or the folder holds something other than a SavedModel.
    """
    if keras.backend.backend() != "tensorflow":
        raise StageError(
            f"a SavedModel belongs to TensorFlow and cannot be written on {keras.backend.backend()}: "
            "set KERAS_BACKEND=tensorflow"
        )
    if folder.exists() and not (folder.is_dir() and ((folder / _MARK).exists() or not any(visible(folder, "*")))):
        raise StageError(f"{folder} exists and is no SavedModel; it would be replaced: choose another folder")
    import tensorflow as tf

    dataset = ensemble.dataset

    def serve(frames, num_frames):
        values = []
        available = tf.clip_by_value(num_frames, 1, tf.shape(frames)[1])
        for (models, sampling), member in zip(ensemble.members, ensemble.recipe.used):
            chosen, count = _sampled(frames, available, sampling, dataset)
            inputs = {"frames": chosen, "num_frames": count}
            probabilities = tf.add_n([model(inputs, training=False) for model in models]) / len(models)
            values.append(values_of(probabilities, ensemble.recipe, member.quantiles))
        weights = [member.weight for member in ensemble.recipe.used]
        mean = tf.add_n([value * (weight / sum(weights)) for value, weight in zip(values, weights)])
        return {"probabilities": tf.sigmoid(mean) if ensemble.recipe.combine == "logits" else mean}

    archive = keras.export.ExportArchive()
    for member in ensemble.members:
        for model in member.models:
            archive.track(model)
    signature = [
        tf.TensorSpec((None, None, dataset.width), dataset.dtype, "frames"),
        tf.TensorSpec((None,), "int32", "num_frames"),
    ]
    archive.add_endpoint("serve", serve, signature)
    with atomic_folder(folder) as temporary:
        archive.write_out(temporary, verbose=False)


def _sampled(frames, available, sampling: SamplingConfig, dataset: DatasetConfig):
    """Sample as `inputs.reading.sampling.choose_frames` does, in TensorFlow: frames [B,t,F] and their number [B]."""
    import tensorflow as tf

    length = sampled_length(sampling.evaluation, sampling, dataset)
    counts = tf.fill(tf.shape(available), length)
    if sampling.evaluation == "all":
        length = tf.minimum(length, tf.shape(frames)[1])
        counts = tf.minimum(available, length)
    there, length = tf.cast(available, tf.int64)[:, None], tf.cast(length, tf.int64)
    places = tf.range(length)[None]
    spread = places * there // length  # B,t
    if sampling.evaluation == "all":
        spread = tf.where(there > length, spread, places)
    return tf.gather(frames, spread, batch_dims=1), counts


def values_of(probabilities, recipe: Recipe, quantiles: tuple[float, ...]):
    """Compute `pipeline.ensembling.scales.to_values` in TensorFlow."""
    import numpy as np
    import tensorflow as tf

    if recipe.combine == "probabilities":
        return probabilities
    if recipe.combine == "logits":
        bounded = tf.clip_by_value(probabilities, 2.0**-24, 1 - 2.0**-24)
        return tf.math.log(bounded) - tf.math.log1p(-bounded)
    knots = tf.constant(np.r_[0.0, quantiles, 1.0], tf.float32)
    # Evenly spread quantiles give the places, which are the same for all quantiles.
    even = np.linspace(0, 1, QUANTILES + 2)
    places = tf.constant(to_values(even, "ranks", even[1:-1]))
    flat = tf.reshape(probabilities, (-1,))
    after = tf.clip_by_value(tf.searchsorted(knots, flat, side="right"), 1, QUANTILES + 1)
    low, high = tf.gather(knots, after - 1), tf.gather(knots, after)
    share = tf.where(flat < high, tf.math.divide_no_nan(flat - low, high - low), 1.0)
    mixed = tf.gather(places, after - 1) * (1 - share) + tf.gather(places, after) * share
    return tf.reshape(mixed, tf.shape(probabilities))
