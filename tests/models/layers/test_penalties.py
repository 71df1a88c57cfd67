"""Penalties where the answer is known."""

import numpy as np
import pytest

from pipeline.models.layers.penalties import PENALTIES

MASK = np.array([[1, 1, 0], [1, 0, 0]], np.float32)


def penalty(name, centers=None, frames=None, assignment=None):
    return float(PENALTIES[name](centers, frames, assignment, MASK))


def test_orthogonal_centers_of_any_length_are_not_penalized():
    centers = np.array([[2, 0, 0], [0, -3, 0]], np.float32)
    assert penalty("center_orthogonality", centers) == pytest.approx(0, abs=1e-9)
    assert penalty("center_orthogonality", np.abs(centers[:, :1]) + 1) == pytest.approx(2), "two equal directions"


def test_sparsity_is_the_sum_of_magnitudes():
    assert penalty("center_sparsity", np.array([[1, -2], [0, 0.5]], np.float32)) == pytest.approx(3.5)


def test_entropy_is_a_mean_over_valid_frames():
    assignment = np.array([[[0.5, 0.5], [1, 0], [0, 0]], [[0.25, 0.75], [0, 0], [0, 0]]], np.float32)
    quarter = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    assert penalty("assignment_entropy", assignment=assignment) == pytest.approx((np.log(2) + quarter) / 3)


def test_validity_is_the_squared_distance_from_the_mean_of_the_centers():
    centers = np.array([[0.0, 0], [4, 0]], np.float32)
    assignment = np.array([[[0.5, 0.5], [1, 0], [0, 0]], [[0.25, 0.75], [0, 0], [0, 0]]], np.float32)
    frames = np.array([[[2, 0], [1, 1], [99, 99]], [[3, 3], [99, 99], [99, 99]]], np.float32)
    assert penalty("tangent_validity", centers, frames, assignment) == pytest.approx((0 + 2 + 9) / 3)
