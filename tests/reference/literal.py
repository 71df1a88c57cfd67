"""What literal forms in float64 share, one video at a time: batch norm, encoders, and how a layer is held to them."""

import keras
import numpy as np


def perturb(layer: keras.layers.Layer, seed: int = 1) -> None:
    """Gives every weight, batch norm's statistics included, a value of its own."""
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        value = weight.numpy() + rng.normal(0, 0.2, weight.shape)
        weight.assign(np.abs(value) + 0.2 if "variance" in weight.path else value)


def weights_of(layer: keras.layers.Layer) -> dict[str, np.ndarray]:
    """`block/norm/gamma` -> value: paths below the layer."""
    return {weight.path.partition("/")[2]: weight.numpy().astype(np.float64) for weight in layer.weights}


def padded(videos: list[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames [B,T,F] float32 with large values as padding, and their mask [B,T]."""
    frames = np.full((len(videos), length, videos[0].shape[1]), 77, np.float32)
    mask = np.zeros((len(videos), length), np.float32)
    for row, video in enumerate(videos):
        frames[row, : len(video)] = video
        mask[row, : len(video)] = 1
    return frames, mask


def case(layer: keras.layers.Layer, size: int, lengths: list[int], length: int):
    """Videos of so many frames of `size` values, the same padded, their mask, and the layer with weights of its own."""
    rng = np.random.default_rng(0)
    videos = [rng.normal(size=(count, size)).astype(np.float32) for count in lengths]
    frames, mask = padded(videos, length)
    layer.build(frames.shape)
    perturb(layer)
    return videos, frames, mask, layer


def batch_norm(weights, name, videos, training):
    rows = np.concatenate(videos)
    mean = rows.mean(axis=0) if training else weights[f"{name}/moving_mean"]
    variance = rows.var(axis=0) if training else weights[f"{name}/moving_variance"]
    gamma, beta = weights.get(f"{name}/gamma", 1), weights.get(f"{name}/beta", 0)
    return [(video - mean) / np.sqrt(variance + 1e-3) * gamma + beta for video in videos]


def layer_norm(weights, name, videos):
    gamma, beta = weights[f"{name}/gamma"], weights.get(f"{name}/beta", 0)
    out = []
    for video in videos:
        centered = video - video.mean(axis=1, keepdims=True)
        out.append(centered / np.sqrt((centered**2).mean(axis=1, keepdims=True) + 1e-3) * gamma + beta)
    return out


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def attention(weights, name, videos, keys, heads, training):
    """All logits of a head are there, and their variance is that of the values themselves."""
    out = [np.zeros(video.shape) for video in videos]
    size = videos[0].shape[1] // heads
    for head in range(heads):
        columns = slice(head * size, (head + 1) * size)
        query, key, value = (weights[f"{name}/{part}/kernel"][:, columns] for part in ("query", "key", "value"))
        logits = [video @ query @ (other @ key).T for video, other in zip(videos, keys)]
        variance = weights[f"{name}/scale/moving_variance"][head]
        if training:
            variance = np.concatenate([pairs.ravel() for pairs in logits]).var()
        scale = weights[f"{name}/scale/gamma"][head] / np.sqrt(variance + 1e-3)
        for row, other in enumerate(keys):
            out[row][:, columns] = softmax(scale * logits[row]) @ (other @ value)
    out = batch_norm(weights, f"{name}/norm", out, training)
    return [video @ weights[f"{name}/project/kernel"] for video in out]


def block(weights, name, videos, keys, heads, training):
    attended = attention(weights, f"{name}/attention", videos, keys, heads, training)
    return layer_norm(weights, f"{name}/norm", [video + more for video, more in zip(videos, attended)])


def encoder(weights, name, videos, keys, heads, training):
    """`name` ends in a slash, or is empty."""
    rows = block(weights, f"{name}block", videos, keys, heads, training)
    out = []
    for video in rows:
        hidden = np.maximum(video @ weights[f"{name}widen/kernel"] + weights[f"{name}widen/bias"], 0)
        out.append(video + hidden @ weights[f"{name}narrow/kernel"] + weights[f"{name}narrow/bias"])
    return layer_norm(weights, f"{name}norm", out)


def check_outputs(got, expected: list[np.ndarray]) -> None:
    """Each video by its norm, the rows that are padding aside."""
    for row, value in enumerate(expected):
        found = np.asarray(got[row])[: len(value)]
        assert np.linalg.norm(found - value) < 1e-5 * np.linalg.norm(value)


def check_gradients(layer: keras.layers.Layer, run, literal, directions: int = 4, step: float = 1e-7) -> None:
    """The layer's gradients against central differences of the literal form, weight by weight, by their norm.

    `run()` gives the layer's output [B,...], `literal(weights)` the same, of each video its valid rows. Along random
    directions the mean square of an error is the square of its norm. A weight's gradient counts for at least a tenth of
    the whole layer's: some are 0, or what is left of larger parts that cancel, with their rounding errors. The step is
    small because a ReLU that it turns on or off has no derivative there.
    """
    import tensorflow as tf

    rng = np.random.default_rng(3)
    weights = weights_of(layer)
    cotangent = [rng.normal(size=value.shape) for value in literal(weights)]

    def loss(path, change):
        moved = literal({**weights, path: weights[path] + change})
        return sum((value * factor).sum() for value, factor in zip(moved, cotangent))

    with tf.GradientTape() as tape:
        out = run()
        total = sum(
            tf.reduce_sum(out[row][: len(factor)] * factor.astype(np.float32)) for row, factor in enumerate(cotangent)
        )
    gradients = [np.asarray(each, np.float64) for each in tape.gradient(total, layer.trainable_weights)]
    least = 0.1 * np.linalg.norm([np.linalg.norm(gradient) for gradient in gradients])
    for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
        path, errors = weight.path.partition("/")[2], []
        for _ in range(directions):
            change = step * rng.normal(size=gradient.shape)
            expected = (loss(path, change) - loss(path, -change)) / (2 * step)
            errors.append((gradient * change).sum() / step - expected)
        error = np.sqrt(np.mean(np.square(errors))) / max(np.linalg.norm(gradient), least)
        assert error < 1e-5, (path, error)
