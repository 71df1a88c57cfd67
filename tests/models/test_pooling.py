"""How much each frame counts: descriptors built again from those weights alone, and weights by their equations."""

import numpy as np
import pytest
from reference import literal

from pipeline.models.attention_cluster import AttentionCluster
from pipeline.models.attention_enhanced_netvlad import AttentionEnhancedNetVLAD
from pipeline.models.attention_netvlad import AttentionNetVLAD
from pipeline.models.average import Average
from pipeline.models.dbof import DBoF
from pipeline.models.latent_attention import LatentAttention
from pipeline.models.netfv import NetFV
from pipeline.models.netrvlad import NetRVLAD
from pipeline.models.netvlad import NetVLAD
from pipeline.models.nextvlad import NeXtVLAD
from pipeline.models.recurrent import Recurrent
from pipeline.models.second_order import SecondOrder
from pipeline.models.soft_dbof import SoftDBoF

K, F, LENGTHS = 5, 8, [9, 1, 4, 7]


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def vlad(layer, weights, video):
    """sum_t w_tk (x_t - c_k), residual by residual, [K,F]."""
    centers = layer.centers.numpy() if hasattr(layer, "centers") else np.zeros((K, F))
    return np.array([sum(w * (x - centers[k]) for w, x in zip(weights[:, k], video)) for k in range(K)])


def normalized_vlad(layer, weights, video):
    return unit(unit(vlad(layer, weights, video)).ravel())


def fisher(layer, weights, video):
    widths, centers = 0.1 + np.log1p(np.exp(layer.widths.numpy())), layer.centers.numpy()
    first, second = np.zeros((K, F)), np.zeros((K, F))
    for k in range(K):
        for weight, frame in zip(weights[:, k], video):
            residual = (frame - centers[k]) / widths[k]
            first[k] += weight * residual
            second[k] += weight * (residual**2 - 1)
    return np.concatenate([unit(unit(order).ravel()) for order in (first, second)])


def clusters(layer, weights, video):
    alpha, beta = layer.alpha.numpy()[:, None], layer.beta.numpy()[:, None]
    return unit(alpha * (weights.T @ video) + beta).ravel() / np.sqrt(K)


def between_encoders(layer, weights, video):
    encoded = np.asarray(layer.frame_encoder(video[None].astype(np.float32)))[0]
    rows = unit(vlad(layer, weights, encoded)) * np.sqrt(F)
    return np.asarray(layer.cluster_encoder(rows[None].astype(np.float32))).ravel()


def histogram(layer, weights, video):
    return unit(weights.sum(axis=0))


def mean(layer, weights, video):
    return weights[:, 0] @ video


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis")  # of one frame, which is meant
@pytest.mark.parametrize(
    ("layer", "rebuild"),
    [
        (NetVLAD(K), normalized_vlad),
        (NetRVLAD(K), normalized_vlad),
        (NetFV(K), fisher),
        (SoftDBoF(K), histogram),
        (AttentionCluster(K, 4), clusters),
        (AttentionNetVLAD(K, 2), normalized_vlad),
        (AttentionNetVLAD(K, 2, encoders=1), normalized_vlad),
        (AttentionEnhancedNetVLAD(K, 2, dropout=0.0), between_encoders),
        (Average(), mean),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_descriptor_is_built_of_these_weights(layer, rebuild):
    videos, frames, mask, layer = literal.case(layer, F, LENGTHS, 12)
    weights = np.asarray(layer.frame_weights(frames, mask), np.float64)
    assert (weights[mask == 0] == 0).all()
    expected = [
        rebuild(layer, weights[row, : len(video)], video.astype(np.float64)) for row, video in enumerate(videos)
    ]
    literal.check_outputs(layer(frames, mask), expected)


@pytest.mark.parametrize("democratic", [False, True])
def test_of_second_order_the_sums_of_weights_are_in_the_descriptor(democratic):
    """R0, its first K values, is the histogram of the first branch."""
    _, frames, mask, layer = literal.case(SecondOrder(K, 3, democratic=democratic), F, LENGTHS, 12)
    weights = np.asarray(layer.frame_weights(frames, mask))
    found = np.asarray(layer(frames, mask))[:, :K]
    np.testing.assert_allclose(unit(found), unit(weights.sum(axis=1)), atol=1e-5)
    say = weights[0].sum(axis=1)[:9]
    assert (say.std() > 0.01) == democratic, "only democratic weights differ from frame to frame"


def test_groups_of_nextvlad_are_added_up():
    groups, expansion = 4, 2
    videos, frames, mask, layer = literal.case(NeXtVLAD(K, groups, expansion), F, LENGTHS, 12)
    found, values = np.asarray(layer.frame_weights(frames, mask)), literal.weights_of(layer)
    expanded = [video @ values["expand/kernel"] + values["expand/bias"] for video in videos]
    logits = literal.batch_norm(values, "norm", [rows @ values["logits/kernel"] for rows in expanded], False)
    for row, video in enumerate(expanded):
        gates = 1 / (1 + np.exp(-video @ values["attention/kernel"] - values["attention/bias"]))
        expected = np.zeros((len(video), K))
        for g in range(groups):
            expected += gates[:, g, None] * literal.softmax(logits[row][:, g * K : (g + 1) * K])
        np.testing.assert_allclose(found[row, : len(video)], expected, rtol=1e-4)


def test_latents_attend_with_the_mean_of_their_heads():
    heads, size = 2, F // 2
    videos, frames, mask, layer = literal.case(LatentAttention(3, heads, dropout=0.0), F, LENGTHS, 12)
    found, values = np.asarray(layer.frame_weights(frames, mask)), literal.weights_of(layer)
    name = "read/block/attention"
    for row, video in enumerate(videos):
        expected = np.zeros((len(video), 3))
        for head in range(heads):
            columns = slice(head * size, (head + 1) * size)
            query, key = (values[f"{name}/{part}/kernel"][:, columns] for part in ("query", "key"))
            variance = values[f"{name}/scale/moving_variance"][head]
            scale = values[f"{name}/scale/gamma"][head] / np.sqrt(variance + 1e-3)
            logits = scale * values["queries"][0] @ query @ (video @ key).T
            expected += literal.softmax(logits).T / heads
        np.testing.assert_allclose(found[row, : len(video)], expected, rtol=1e-4)


@pytest.mark.parametrize("statistic", ["max", "mean"])
def test_a_bag_of_frames_is_shared_out(statistic):
    units = 40
    videos, frames, mask, layer = literal.case(DBoF(units, statistic), F, LENGTHS, 12)
    frames[2, 3] = videos[2][3] = videos[2][0]  # two frames tie wherever one of them is highest
    found, values = np.asarray(layer.frame_weights(frames, mask)), literal.weights_of(layer)
    for row, projected in enumerate(
        literal.batch_norm(values, "norm", [video @ values["projection/kernel"] for video in videos], False)
    ):
        expected = np.zeros(len(projected))
        if statistic == "mean":
            clipped = np.clip(projected, 0, 6)
            expected = clipped.sum(axis=1) / clipped.sum()
        else:
            for unit_of_all in projected.T:
                best = np.flatnonzero(unit_of_all > unit_of_all.max() - 1e-6)
                expected[best] += (unit_of_all.max() > 0) / len(best) / units
        np.testing.assert_allclose(found[row, : len(projected), 0], expected, rtol=1e-4, atol=1e-7)
    assert found.sum() > 2


def test_a_recurrent_layer_says_nothing():
    _, frames, mask, layer = literal.case(Recurrent(units=3), F, [3, 2], 4)
    assert layer.frame_weights(frames, mask) is None


@pytest.mark.parametrize(
    "layer",
    [Average(), DBoF(40), DBoF(40, "mean"), SoftDBoF(K), NeXtVLAD(K, 4, 2), Recurrent(units=3)],
    ids=lambda layer: layer.name,
)
def test_a_scale_of_the_frames_is_one_of_the_weights_where_it_is_said_not_to_matter(layer):
    assert not layer.scale_matters
    _, frames, mask, layer = literal.case(layer, F, LENGTHS, 12)
    scale = np.linspace(0.5, 2, F, dtype=np.float32)
    scaled = np.asarray(layer(frames * scale, mask))
    if isinstance(layer, Average):  # the dense layer behind it holds the scale
        scaled = scaled / scale
    else:
        assert np.abs(scaled - np.asarray(layer(frames, mask))).max() > 0.01
        for weight in layer.trainable_weights:
            if weight.shape[0] == F:
                weight.assign(weight * scale[:, None])
    np.testing.assert_allclose(layer(frames, mask), scaled, rtol=1e-4, atol=1e-5)
