"""The loss against its sum, class by class."""

import math

import numpy as np
import pytest
import tensorflow as tf

from pipeline.config import AverageConfig, ClassifierConfig, DatasetConfig, FeatureConfig, ModelConfig
from pipeline.models import build_model
from pipeline.training.loss import SoftmaxCrossentropy, SummedBinaryCrossentropy, loss_of

LABELS = np.array([[1, 0, 0, 1], [0, 0, 0, 0]], np.float32)
PROBABILITIES = np.array([[0.9, 0.2, 0.01, 0.5], [0.3, 0.1, 0.6, 0.05]], np.float32)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_summed_over_classes_and_averaged_over_videos(smoothing):
    total = 0.0
    for labels, probabilities in zip(LABELS.tolist(), PROBABILITIES.tolist()):
        for y, p in zip(labels, probabilities):
            y = y * (1 - smoothing) + smoothing / 2
            total -= y * math.log(p) + (1 - y) * math.log(1 - p)
    loss = float(SummedBinaryCrossentropy(smoothing)(LABELS, PROBABILITIES))
    assert loss == pytest.approx(total / 2, rel=1e-3)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_softmax_is_scored_by_the_class_of_each_video(smoothing):
    labels = np.array([[0, 1, 0, 0], [0.25, 0, 0.75, 0]], np.float32)
    probabilities = PROBABILITIES / PROBABILITIES.sum(axis=1, keepdims=True)
    total = 0.0
    for row, chances in zip(labels.tolist(), probabilities.tolist()):
        total -= sum((y * (1 - smoothing) + smoothing / 4) * math.log(p) for y, p in zip(row, chances))
    assert float(SoftmaxCrossentropy(smoothing)(labels, probabilities)) == pytest.approx(total / 2, rel=1e-5)
    teacher = labels * [[0.5], [3]]  # a teacher of another head gives more, or less, than 1 in all
    assert float(SoftmaxCrossentropy(smoothing)(teacher, probabilities)) == pytest.approx(total / 2, rel=1e-5)


def test_softmax_learns_where_it_is_certain_and_wrong():
    """The gradient of a logit is its probability less its label, however small the probability is."""
    logits = tf.Variable([[0.0, 40.0, -5.0]])
    with tf.GradientTape() as tape:
        loss = SoftmaxCrossentropy()(np.array([[1, 0, 0]], np.float32), tf.nn.softmax(logits))
    np.testing.assert_allclose(tape.gradient(loss, logits).numpy(), [[-1, 1, 0]], atol=1e-6)
    assert float(loss) == pytest.approx(40, rel=1e-5)
    assert np.isfinite(float(SoftmaxCrossentropy()(np.eye(1, 3), np.eye(1, 3, 1, np.float32))))


def test_the_loss_fits_the_head():
    dataset = DatasetConfig("d", (FeatureConfig("a", 3),), 4, task="single_label")
    for head, kind in (("softmax", SoftmaxCrossentropy), ("logistic", SummedBinaryCrossentropy)):
        bare = ClassifierConfig(input_batch_norm=False, hidden=0, gating="none", head=head)
        loss = loss_of(build_model(ModelConfig("average", AverageConfig(), bare), dataset), 0.3)
        assert type(loss) is kind and loss.label_smoothing == 0.3


def test_certain_and_wrong_is_finite():
    assert 0 < float(SummedBinaryCrossentropy()(np.ones((1, 3)), np.zeros((1, 3), np.float32))) < 100


def test_it_serializes():
    for kind in (SummedBinaryCrossentropy, SoftmaxCrossentropy):
        assert kind.from_config(kind(0.2).get_config()).label_smoothing == 0.2
