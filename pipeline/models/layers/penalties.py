"""Penalties on centers and assignments that a pooling layer may add to the training loss."""

from keras import ops

from pipeline.models.layers.normalization import l2_normalize


def center_orthogonality(centers, frames, assignment, mask):
    """centers [K,F] -> ||C C^T - I||^2 (Frobenius), where the rows of C are the centers scaled to length 1."""
    units = l2_normalize(centers)
    return ops.sum(ops.square(ops.matmul(units, ops.transpose(units)) - ops.eye(units.shape[0])))


def center_sparsity(centers, frames, assignment, mask):
    """centers [K,F] -> their L1 norm."""
    return ops.sum(ops.abs(centers))


def assignment_entropy(centers, frames, assignment, mask):
    """assignment [B,T,K], mask [B,T] -> the mean over valid frames of -sum_k a_tk log a_tk."""
    return _mean(-ops.sum(assignment * ops.log(ops.maximum(assignment, 1e-12)), axis=-1), mask)


def tangent_validity(centers, frames, assignment, mask):
    """centers [K,F], frames [B,T,F], assignment [B,T,K] -> the mean over valid frames of ||x_t - sum_k a_tk c_k||^2."""
    return _mean(ops.sum(ops.square(frames - ops.matmul(assignment, centers)), axis=-1), mask)


PENALTIES = {
    each.__name__: each for each in (center_orthogonality, center_sparsity, assignment_entropy, tangent_validity)
}


def _mean(values, mask):
    """values [B,T], mask [B,T] -> the mean of the valid values."""
    mask = ops.cast(mask, "float32")
    return ops.sum(values * mask) / ops.maximum(ops.sum(mask), 1.0)
