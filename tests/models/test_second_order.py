"""Second-order pooling against its literal form: float64, with loops over frames and clusters, nothing factorised."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from reference import literal

from pipeline.config import ClassifierConfig, DatasetConfig, FeatureConfig, ModelConfig, SecondOrderConfig
from pipeline.models import build_model
from pipeline.models.second_order import SecondOrder

K, F, D = 3, 7, 4


# ------------------------------------------------------------------------------------------------------- literal form


def assignments(weights, branch, frames, mask, training):
    logits = frames @ weights[f"{branch}/assignment/logits/kernel"]
    norm = {name: weights[f"{branch}/assignment/norm/{name}"] for name in ("gamma", "beta")}
    valid = logits[mask > 0]
    mean = valid.mean(0) if training else weights[f"{branch}/assignment/norm/moving_mean"]
    variance = valid.var(0) if training else weights[f"{branch}/assignment/norm/moving_variance"]
    logits = (logits - mean) / np.sqrt(variance + 1e-3) * norm["gamma"] + norm["beta"]
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def unit_vectors(frames, centers):
    """r_tk [B,T,K,F]."""
    vectors = np.zeros((*frames.shape[:2], *centers.shape))
    for b, video in enumerate(frames):
        for t, x in enumerate(video):
            for k, c in enumerate(centers):
                squared = max(((x - c) ** 2).sum(), 1e-4 * ((x**2).sum() + (c**2).sum()))
                vectors[b, t, k] = (x - c) / np.sqrt(squared)
    return vectors


def symmetric_root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(values**-0.5) @ vectors.T


def whitening(kind, weights, name, vectors, mask, training):
    """mu [K,F] and U [K,F,F]."""
    clusters, size = vectors.shape[2:]
    if kind == "none":
        return np.zeros((clusters, size)), np.stack([np.eye(size)] * clusters)
    valid = vectors[mask > 0]  # N,K,F
    if training:
        means = valid.mean(0)
        spreads = [np.cov(valid[:, k].T, bias=True) for k in range(clusters)]
    elif kind == "diagonal":
        means = weights[f"{name}/moving_mean"]
        spreads = [np.diag(variance / size) for variance in weights[f"{name}/moving_variance"]]
    else:
        means = weights[f"{name}/moving_mean"]
        return means, weights[f"{name}/U"]  # given
    if kind == "diagonal":
        spreads = [np.diag(np.diag(spread)) for spread in spreads]
    return means, np.stack([symmetric_root(s + 1e-3 * np.trace(s) / size * np.eye(size)) for s in spreads])


def unit(values):
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def balanced(maps):
    """maps [T,N] of one video -> lambda, by the iteration as it is written."""
    similarity = np.maximum(maps @ maps.T, 0)
    weights = np.ones(len(maps))
    for _ in range(10):
        weights = np.sqrt(weights / (similarity @ weights))
    return weights


def democratic_weights(weights, frames, mask):
    """lambda [B,T], 0 on padding."""
    frames = frames.astype(np.float64)
    shares = assignments(weights, "first", frames, mask, training=False)
    maps = shares[..., None] * unit_vectors(frames, weights["first/centres"])  # B,T,K,F
    lambdas = np.zeros(mask.shape)
    for b, count in enumerate(mask.sum(1).astype(int)):
        lambdas[b, :count] = balanced(maps[b, :count].reshape(count, -1))
    return lambdas


def descriptors(weights, frames, mask, settings, training, lambdas=None):
    """Descriptors [B,N]; `lambdas` [B,T] where the democratic weights are given, as constants."""
    frames = frames.astype(np.float64)
    projected = frames @ weights["project/kernel"]
    a1 = assignments(weights, "first", frames, mask, training)
    a2 = assignments(weights, "second", projected, mask, training)
    r1 = unit_vectors(frames, weights["first/centres"])
    r2 = unit_vectors(projected, weights["second/centres"])
    mean1, u1 = whitening(settings["first_whitening"], weights, "first_whitening", r1, mask, training)
    mean2, u2 = whitening(settings["second_whitening"], weights, "second_whitening", r2, mask, training)
    clusters, size = weights["second/centres"].shape
    # The order of the triangle: diagonals, around the edge.
    pairs = [(i, (i + s) % size) for s in range(size // 2 + 1) for i in range(size if 2 * s < size else s)]
    rows = []
    for b in range(len(frames)):
        valid = [t for t in range(frames.shape[1]) if mask[b, t]]
        shares = {t: 1.0 if lambdas is None else lambdas[b, t] for t in valid}
        zeroth = np.zeros(clusters)
        first = np.zeros((clusters, frames.shape[2]))
        second = np.zeros((clusters, size, size))
        for t in valid:
            for k in range(clusters):
                zeroth[k] += shares[t] * a1[b, t, k]
                first[k] += shares[t] * a1[b, t, k] * u1[k] @ (r1[b, t, k] - mean1[k])
                white = u2[k] @ (r2[b, t, k] - mean2[k])
                second[k] += shares[t] * a2[b, t, k] * np.outer(white, white)
        upper = np.array([[m[i, j] * (1 if i == j else np.sqrt(2)) for i, j in pairs] for m in second])
        rows.append(np.concatenate([unit(zeroth), unit(first).ravel(), unit(upper).ravel()]))
    return unit(np.stack(rows))


# -------------------------------------------------------------------------------------------------------------- tools


def values_of(layer):
    """Path below the layer -> value in float64, and the matrices that ZCA uses."""
    values = literal.weights_of(layer)
    if layer.settings["second_whitening"] == "zca":
        zca = layer.second_whitening
        covariance = zca.triangle.unpack(zca.moving_covariance / zca.triangle.size)
        values["second_whitening/U"] = np.asarray(zca.inverse_root(covariance), np.float64)
    return values


def make(clusters=K, projection=D, size=F, **settings):
    """A layer whose every weight differs from its initial value."""
    keras.utils.set_random_seed(0)
    layer = SecondOrder(clusters=clusters, projection=projection, **settings)
    layer.build((None, None, size))
    rng = np.random.default_rng(1)
    for weight in layer.weights:
        value = weight.numpy() + rng.normal(0, 0.1, weight.shape)
        weight.assign(np.abs(value) if weight.path.endswith("variance") else value)
    return layer


def data(counts, size=F, seed=2):
    """Frames of different spread in each direction, garbage as padding, and the mask."""
    rng = np.random.default_rng(seed)
    length = max(counts)
    frames = rng.normal(size=(len(counts), length, size)) * np.linspace(0.5, 1.5, size) + rng.normal(size=size) * 0.3
    mask = (np.arange(length) < np.array(counts)[:, None]).astype(np.float32)
    return np.where(mask[:, :, None] > 0, frames, 50.0).astype(np.float32), mask


def check_against_literal(layer, frames, mask, training=False, lambdas=None):
    """Output, and gradients where the matrices of ZCA's tracked statistics are given."""
    values = values_of(layer)

    def expected(weights):
        return descriptors({**values, **weights}, frames, mask, layer.settings, training, lambdas)

    literal.check_outputs(layer(frames, mask, training=training), expected({}))
    literal.check_gradients(layer, lambda: layer(frames, mask, training=training), expected)


# -------------------------------------------------------------------------------------------------------------- tests

CASES = {"padding": [9, 1, 5, 8, 6, 7], "one frame": [1], "300 frames": [300]}
KINDS = [("none", "none"), ("diagonal", "diagonal"), ("diagonal", "zca")]


@pytest.mark.parametrize("counts", CASES.values(), ids=CASES)
@pytest.mark.parametrize("kinds", KINDS, ids="-".join)
def test_it_equals_its_literal_form(kinds, counts):
    layer = make(first_whitening=kinds[0], second_whitening=kinds[1])
    frames, mask = data(counts)
    got = layer(frames, mask)
    assert got.dtype == "float32"
    assert got.shape == (len(counts), K + K * F + K * D * (D + 1) // 2) == layer.compute_output_shape(frames.shape)
    if len(frames[0]) < 300 or kinds == KINDS[-1]:
        check_against_literal(layer, frames, mask)
    else:  # the gradients of so many frames, which take long to measure, with the last kinds alone
        literal.check_outputs(got, descriptors(values_of(layer), frames, mask, layer.settings, training=False))


@pytest.mark.parametrize("kinds", KINDS, ids="-".join)
def test_in_training_it_equals_its_literal_form(kinds):
    """With the batch's own statistics, and gradients through them; the literal form takes an eigendecomposition."""
    layer = make(first_whitening=kinds[0], second_whitening=kinds[1])
    check_against_literal(layer, *data([9, 1, 5, 8, 6, 7]), training=True)


def test_with_democratic_weights_it_equals_its_literal_form():
    layer = make(democratic=True)
    frames, mask = data([9, 1, 5, 8, 6, 7])
    values = values_of(layer)
    lambdas = democratic_weights(values, frames, mask)
    plain, weighted = (descriptors(values, frames, mask, layer.settings, False, each) for each in (None, lambdas))
    assert np.linalg.norm(weighted - plain) > 0.01 * np.linalg.norm(plain)
    check_against_literal(layer, frames, mask, lambdas=lambdas)  # no gradient through the weights


@pytest.mark.wide
@pytest.mark.parametrize(("democratic", "compiled"), [(True, False), (False, True)])
def test_a_frame_on_a_center(democratic, compiled):
    layer = make(democratic=democratic)
    frames, mask = data([6, 5, 1])
    frames[0, 2] = frames[2, 0] = layer.first.centers.numpy()[1]
    # One exact in the projection too: the second center is put where the frame falls.
    centers = layer.second.centers.numpy()
    centers[2] = frames[1, 3] @ layer.project.kernel.numpy()
    layer.second.centers.assign(centers)

    def run(training):
        with tf.GradientTape() as tape:
            out = layer(frames, mask, training=training)
            total = tf.reduce_sum(out**3)
        return out, tape.gradient(total, [weight.value for weight in layer.trainable_weights])

    if compiled:
        run = tf.function(run, autograph=False, jit_compile=True)
    values = values_of(layer)
    lambdas = democratic_weights(values, frames, mask) if democratic else None
    out, gradients = run(False)
    for found, expected in zip(out, descriptors(values, frames, mask, layer.settings, False, lambdas)):
        assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)
    for gradient in gradients + run(True)[1]:
        assert np.isfinite(gradient).all()


@pytest.mark.wide
def test_of_correlated_frames_too():
    """The rounding errors of the sums that ZCA whitens grow with the condition of the covariances."""
    layer = make(projection=12, size=16)
    frames, mask = data([40, 1, 33, 20, 38, 40, 29], size=16)
    frames = (frames @ np.random.default_rng(4).normal(size=(16, 16)) / 4).astype(np.float32)
    zca = layer.second_whitening
    zca.momentum = 0.0
    layer(frames, mask, training=True)
    values = values_of(layer)
    assert (np.linalg.cond(values["second_whitening/U"]) ** 2 > 100).all()
    check_against_literal(layer, frames, mask)
    expected = descriptors(values, frames, mask, layer.settings, training=True)
    literal.check_outputs(layer(frames, mask, training=True), expected)


def test_a_batch_without_spread_is_finite():
    """One video of one frame, or of equal ones, has no covariance."""
    layer = make(clusters=4, projection=8, size=32, democratic=True)
    for frames in (np.ones((1, 1, 32), np.float32), np.ones((2, 5, 32), np.float32)):
        assert np.isfinite(np.asarray(layer(frames, np.ones(frames.shape[:2]), training=True))).all()
    assert np.isfinite(np.asarray(layer(np.zeros((2, 3, 32), np.float32), np.zeros((2, 3)), training=True))).all()


def test_the_descriptor_of_the_paper_at_its_size():
    """64 and 16 clusters, projections of 64 and 32: about 209 thousand values, 214 million weights before H = 1024."""
    descriptor = parameters = 0
    for size, clusters, projection in ((1024, 64, 64), (128, 16, 32)):
        layer = SecondOrder(clusters, projection)
        layer.build((None, None, size))
        descriptor += layer.compute_output_shape((None, None, size))[1]
        trained = sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights)
        branches = sum(2 * clusters * each + 2 * clusters for each in (size, projection))  # W, centers, norm
        assert trained == branches + size * projection
        tracked = (
            2 * clusters * size + clusters * projection + clusters * projection * (projection + 1) // 2 + 4 * clusters
        )
        assert sum(int(np.prod(weight.shape)) for weight in layer.non_trainable_weights) == tracked
        parameters += trained
    assert descriptor == (64 + 64 * 1024 + 64 * 2080) + (16 + 16 * 128 + 16 * 528) == 209_232
    assert parameters == 205_056 + 9_280
    assert round(descriptor * 1024 / 1e6) == 214


def test_an_unknown_whitening_is_refused():
    with pytest.raises(ValueError, match="first_whitening must be one of none, diagonal, not 'zca'"):
        SecondOrder(first_whitening="zca")
    with pytest.raises(ValueError, match="second_whitening must be one of none, diagonal, zca, not 'pca'"):
        SecondOrder(second_whitening="pca")


# ---------------------------------------------------------------------------------------------------------- penalties

SCALES = {"center_orthogonality": 0.1, "center_sparsity": 0.2, "assignment_entropy": 0.3, "tangent_validity": 0.4}


@pytest.mark.parametrize("name", SCALES)
def test_each_penalty_is_the_sum_over_both_branches_in_training_only(name):
    layer = make(**{name: SCALES[name]})
    assert layer.penalties == (name,)
    frames, mask = data([9, 1, 5, 8, 6, 7])
    values = values_of(layer)
    expected = 0.0
    for branch, x in (("first", frames.astype(np.float64)), ("second", frames @ values["project/kernel"])):
        shares, centers = assignments(values, branch, x, mask, training=True), values[f"{branch}/centres"]
        terms = []
        for b, t in zip(*np.nonzero(mask)):
            entropy = -sum(share * np.log(share) for share in shares[b, t])
            residual = x[b, t] - sum(share * center for share, center in zip(shares[b, t], centers))
            terms.append({"assignment_entropy": entropy, "tangent_validity": residual @ residual})
        if name == "center_orthogonality":
            expected += ((unit(centers) @ unit(centers).T - np.eye(K)) ** 2).sum()
        elif name == "center_sparsity":
            expected += np.abs(centers).sum()
        else:
            expected += np.mean([term[name] for term in terms])
    layer(frames, mask, training=True)
    assert [float(loss) for loss in layer.losses] == pytest.approx([SCALES[name] * expected], rel=1e-5)
    layer(frames, mask, training=False)
    assert layer.losses == []


def test_without_scales_nothing_is_added_to_the_loss():
    layer = make()
    layer(*data([4, 2]), training=True)
    assert layer.losses == []
    assert layer.penalties == ()


@pytest.mark.wide
def test_gradients_reach_every_weight_by_way_of_the_model():
    """Also with all settings on, in bfloat16."""
    dataset = DatasetConfig("s", (FeatureConfig("rgb", 12), FeatureConfig("audio", 6)), 5)
    config = SecondOrderConfig((4, 2), (5, 3), democratic=True, **SCALES)
    model = build_model(ModelConfig("second_order", config, ClassifierConfig(hidden=8)), dataset, "mixed_bfloat16")
    rng = np.random.default_rng(0)
    inputs = {"frames": rng.integers(0, 256, (6, 9, 18), dtype=np.uint8), "num_frames": np.array([9, 1, 5, 8, 6, 7])}
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(inputs, training=True) ** 2) + sum(model.losses)
    for weight, gradient in zip(model.trainable_weights, tape.gradient(loss, model.trainable_weights), strict=True):
        assert float(tf.reduce_max(tf.abs(gradient))) > 1e-6, weight.path
