"""Frame weights: how much each frame of a video counts for each cluster or head of a trained model's pooling."""

from pathlib import Path

import numpy as np

from pipeline.inputs.index import Index

Weights = dict[str, np.ndarray]
"""Name of a feature, or of its layers, -> float32 [B,T,K]; empty if the family has no weights of frames."""
BATCH_SIZE = 16
"""How many videos are in memory at a time, with all that is computed from their frames."""


def frame_weights(model, inputs: dict[str, np.ndarray]) -> Weights:
    """Return how much each frame counts for each of the K clusters (or what a family has instead) of each feature.

    A feature is named as its layers are; see `pipeline.models.naming`.

    These are the numbers that the model itself pools with, and each family describes its own at `frame_weights`:
    assignments for NetVLAD and related families, attention for the families that have it, a frame's share of the maxima
    for a bag of frames. So their scales differ between families. Padding has weight 0. Only the weights of
    `attention_netvlad` can be negative.

    Args:
        model: a Keras model of `pipeline.models`, on any backend.
        inputs: `{"frames": [B,T,F], "num_frames": int32 [B]}`, as the model takes them.
    """
    import keras

    from pipeline.models.pooling import Pooling
    from pipeline.runtime.backend import no_gradients

    poolings = {layer.name.removesuffix("_pooling"): layer for layer in model.layers if isinstance(layer, Pooling)}
    up_to = keras.Model(model.input, {name: layer.input for name, layer in poolings.items()})
    weights = {}
    with no_gradients():
        for name, (frames, mask) in up_to(inputs, training=False).items():
            found = poolings[name].frame_weights(frames, mask)
            if found is not None:
                weights[name] = keras.ops.convert_to_numpy(keras.ops.cast(found, "float32"))
    return weights


def frame_weights_of_run(folder: Path, index: Index, rows: np.ndarray) -> tuple[Weights, np.ndarray]:
    """Return the frame weights of a trained run for the videos at `rows`, and the number of valid frames, int32 [B].

    Of a run that is trained in folds they are those of its first model: the clusters of several have no common order.

    The frames are those that the run predicts with. With uniform sampling they are T frames spread evenly over each
    video, all of them valid.

    Raises:
        StageError: the run is not trained to its end or was trained on another kind of dataset, or a shard cannot be
            read.
    """
    from pipeline.inference.runs import TrainedRun, check_run_fits_index
    from pipeline.inputs.reading.batches import evaluation_batches
    from pipeline.inputs.reading.reader import FrameReader
    from pipeline.models import load_model
    from pipeline.models.naming import layer_names

    run = TrainedRun.read(folder)
    check_run_fits_index(run.dataset, folder, index)
    model, reader = load_model(run.models[0]), FrameReader(index)
    found, valid = [], []
    try:
        for count, inputs in evaluation_batches(reader, rows, run.sampling, min(BATCH_SIZE, max(len(rows), 1))):
            found.append({name: values[:count] for name, values in frame_weights(model, inputs).items()})
            valid.append(inputs["num_frames"][:count])
    finally:
        reader.close()
    features = [feature.name for feature in run.dataset.features]
    named = {layers: name for layers, name in zip(layer_names(features), features) if layers in found[0]}
    weights = {name: np.concatenate([part[layers] for part in found]) for layers, name in named.items()}
    return weights, np.concatenate(valid)


def frame_shares(weights: Weights) -> np.ndarray | None:
    """Weights of B videos -> how much each frame counts, [B,T], in all 1 for a video; None if there are no weights.

    It is the mean over all clusters of all features of a frame's share in the cluster's weights, since poolings make
    all clusters equally long, or all heads sum to 1. A cluster that no frame belongs to is left out.
    """
    if not weights:
        return None
    sizes = np.abs(np.concatenate(list(weights.values()), axis=-1), dtype=np.float64)  # B,T,K
    sums = sizes.sum(axis=1, keepdims=True)  # B,1,K
    shares = (sizes / np.where(sums > 0, sums, 1)).sum(axis=-1)  # B,T
    return shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)


def cluster_usage(weights: np.ndarray) -> np.ndarray:
    """weights [B,T,K] -> how much each cluster is used in each video, [B,K]: its share of the sum of all squares.

    The weights are squared because attention sums to 1 over the frames for every cluster of every video. Its squares
    still tell whether it is concentrated, that is, whether the cluster has found something to look at.
    """
    squares = np.square(weights).sum(axis=1, dtype=np.float64)  # B,K
    return squares / np.maximum(squares.sum(axis=1, keepdims=True), 1e-12)


def cluster_similarity(weights: np.ndarray) -> np.ndarray:
    """weights [B,T,K] -> cosine similarity of two clusters' weights over all frames, [K,K]; 1 if they are alike."""
    columns = weights.reshape(-1, weights.shape[-1]).astype(np.float64)  # BT,K
    columns = columns / np.maximum(np.linalg.norm(columns, axis=0), 1e-12)
    return columns.T @ columns
