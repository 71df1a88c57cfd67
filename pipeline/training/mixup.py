"""Mixup: mix each video of a batch with another video of the same batch."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from pipeline.inputs.reading.buffers import BufferPool
from pipeline.runtime.compiled import compile_numba

_memory = BufferPool()


def draw_pairs(batch: int, alpha: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw for each video of a batch which other one it is mixed with, int64 [B], and its own share, float32 [B].

    Shares are from Beta(alpha, alpha) (Zhang et al. 2018); the video whose number of frames is kept has the larger one.
    """
    partner = rng.permutation(batch)  # B
    share = rng.beta(alpha, alpha, batch).astype(np.float32)
    return partner, np.maximum(share, 1 - share)


def mix_batch(
    frames: np.ndarray, num_frames: np.ndarray, labels: np.ndarray, partner: np.ndarray, share: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mix each of the first B videos of R with another one of them, as `draw_pairs` says.

    The partner is stretched or thinned to the video's own number of frames, so that every frame is a mixture. Bytes
    stay bytes, since rounding to the nearest one moves a value by at most half a quantization step.

    Args:
        frames: [R,T,F] of bytes, float16 or float32.
        num_frames: int32 [R].
        labels: float32 [R,V].
        partner: integers below R, [B].
        share: of the video itself, float32 [B].

    Returns:
        frames [B,T,F] in their own dtype, labels float32 [B,V].
    """
    mixed = _memory.array((len(partner), *frames.shape[1:]), frames.dtype)
    if frames.dtype == np.uint8:
        weight = np.rint(share * 256).astype(np.uint16)
        share = np.rint(share * 256) / np.float32(256)
        _mix_bytes(frames, num_frames, partner, weight, mixed)
    elif frames.dtype == np.float16:
        _mix_halves(frames.view(np.uint16), num_frames, partner, share, mixed.view(np.uint16))
    else:
        _mix_floats(frames, num_frames, partner, share, mixed)
    return mixed, labels[: len(partner)] * share[:, None] + labels[partner] * (1 - share[:, None])


@compile_numba
def _mix_bytes(
    frames: np.ndarray, num_frames: np.ndarray, partner: np.ndarray, weight: np.ndarray, mixed: np.ndarray
) -> None:
    """Write the mixture of bytes to `mixed` [B,T,F]; weight, uint16 [B], is the video's own share in 256ths."""
    _, length, width = frames.shape
    for video in range(len(partner)):
        other, own = partner[video], weight[video]
        for place in range(num_frames[video]):
            there = min(place * num_frames[other] // num_frames[video], length - 1)
            for value in range(width):
                mixed[video, place, value] = np.uint8(
                    np.uint16(
                        np.uint16(frames[video, place, value]) * own
                        + np.uint16(frames[other, there, value]) * np.uint16(256 - own)
                        + np.uint16(128)
                    )
                    >> 8
                )
        mixed[video, num_frames[video] :] = 0


@compile_numba
def _mix_floats(
    frames: np.ndarray, num_frames: np.ndarray, partner: np.ndarray, share: np.ndarray, mixed: np.ndarray
) -> None:
    """Write the mixture of floats to `mixed` [B,T,F]; share, float32 [B], is the video's own share."""
    _, length, width = frames.shape
    for video in range(len(partner)):
        other, own = partner[video], share[video]
        rest = np.float32(1) - own
        for place in range(num_frames[video]):
            there = min(place * num_frames[other] // num_frames[video], length - 1)
            for value in range(width):
                mixed[video, place, value] = frames[video, place, value] * own + frames[other, there, value] * rest
        mixed[video, num_frames[video] :] = 0


@compile_numba
def _mix_halves(
    frames: np.ndarray, num_frames: np.ndarray, partner: np.ndarray, share: np.ndarray, mixed: np.ndarray
) -> None:
    """Write the mixture of float16 values to `mixed` [B,T,F], both as uint16; share, float32 [B], as of floats."""
    _, length, width = frames.shape
    for video in range(len(partner)):
        other, own = partner[video], share[video]
        rest = np.float32(1) - own
        for place in range(num_frames[video]):
            there = min(place * num_frames[other] // num_frames[video], length - 1)
            for value in range(width):
                mixed[video, place, value] = _narrow(
                    _widen(frames[video, place, value]) * own + _widen(frames[other, there, value]) * rest
                )
        mixed[video, num_frames[video] :] = 0


@intrinsic
def _widen(typing_context, bits):
    """The bits of a float16, uint16, as a float32; numba has no float16 on processors."""

    def generate(context, builder, signature, arguments):
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), generate


@intrinsic
def _narrow(typing_context, value):
    """A float32 as the bits of the nearest float16, uint16."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(builder.fptrunc(arguments[0], ir.HalfType()), ir.IntType(16))

    return types.uint16(types.float32), generate
