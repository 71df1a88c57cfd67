"""Democratic weights: each frame has the same influence on a video's sum, however often similar frames occur."""

from keras import ops

ITERATIONS = 10


def democratic_weights(assignment, distances, frames, centers, mask):
    """a and d [B,T,K], frames [B,T,F], centers [K,F], mask [B,T] -> lambda [B,T], 0 on padding.

        lambda_t sum_s Q_ts lambda_s = 1        Q: the Gram matrix of the maps [a_tk (x_t - c_k) / d_tk]_k, clipped at 0

    No gradient flows through the weights. A video costs 2T^2(F + 2K) FLOPs. Source: Jegou, Zisserman 2014.
    """
    similarity = gram(assignment / distances, frames, centers)  # B,T,T
    return ops.stop_gradient(balance(ops.maximum(similarity, 0.0), ops.cast(mask, "float32")))


def gram(weights, frames, centers):
    """weights [B,T,K], of either sign, frames [B,T,F], centers [K,F] -> Gram matrix Q [B,T,T], without building maps.

    Q_ts = sum_k w_tk w_sk (x_t - c_k).(x_s - c_k)
    """
    across = ops.transpose(weights, (0, 2, 1))  # B,K,T
    projected = ops.matmul(frames, ops.transpose(centers))  # B,T,K
    mixed = ops.matmul(weights * (projected - ops.sum(ops.square(centers), axis=-1) / 2), across)  # B,T,T
    own = ops.matmul(frames, ops.transpose(frames, (0, 2, 1))) * ops.matmul(weights, across)
    return own - mixed - ops.transpose(mixed, (0, 2, 1))


def balance(similarity, mask, iterations: int = ITERATIONS):
    """Q [B,T,T], not negative, mask [B,T] -> lambda [B,T] of `democratic_weights`, by Sinkhorn's iterations.

    Each iteration takes the geometric mean of lambda and of the lambda that would solve the equation, which at least
    halves the error.
    """
    weights = mask
    for _ in range(iterations):
        sums = ops.squeeze(ops.matmul(similarity, weights[:, :, None]), axis=-1)  # B,T
        weights = mask * ops.sqrt(weights / ops.maximum(sums, 1e-12))
    return weights
