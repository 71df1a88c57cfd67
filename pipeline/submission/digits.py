"""Rows of the challenge's file as bytes, compiled: `%i %g` of each pair, exactly."""

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.runtime.compiled import compiled

FAULTS = (
    "",
    "a negative label",
    "a label twice",
    "a confidence that is not finite",
    "a confidence outside [0, 1]",
    "ascending confidences",
)
"""What `first_fault` finds, by its number."""
NUMBER_WIDTH = 13
"""Bytes that a label or a confidence takes at most, with a blank."""
_ROUNDING = 1e-6  # confidences this far outside [0, 1] are rounding, further out they are wrong
_ZERO, _POINT, _MINUS, _E, _BLANK, _COMMA, _NEWLINE = b"0.-e ,\n"
_EXACT = 12  # powers of ten up to here times a float32 fit a float64: 24 bits and 28 of 5**12
_TENS = 10.0 ** np.arange(_EXACT + 1)
_BELOW = np.array([float(f"1e-{power}") for power in range(1, _EXACT - 4)])  # no float32 equals one of them
_THREE = np.array([list(b"%03d" % number) for number in range(1000)], np.uint8)
_FOUR = np.array([list(f"{number:<4d}".encode()) for number in range(10_000)], np.uint8)
_SIZES = np.array([len((b"%03d" % number).rstrip(b"0")) for number in range(1000)])  # without the zeros at the end
_LOG_2 = math.log10(2)
_LIMBS = 4
_FIVES = np.array([[5**power >> 32 * limb & 0xFFFFFFFF for limb in range(_LIMBS)] for power in range(51)], np.uint64)
"""Powers of five in pieces of 32 bits, the lowest first: the smallest float32 is 1.4e-45, to 6 digits 140130e-50."""


@compiled
def first_fault(labels: NDArray[np.int32], scores: NDArray[np.float32]) -> tuple[int, int]:  # N,K both
    """The first row that cannot be written, and why, by its place in FAULTS; 0, 0 where all can."""
    for row in range(labels.shape[0]):
        for pair in range(labels.shape[1]):
            label, score = labels[row, pair], np.float64(scores[row, pair])
            if label < 0:
                return row, 1
            for other in range(pair):
                if labels[row, other] == label:
                    return row, 2
            if not np.isfinite(score):
                return row, 3
            if score < -_ROUNDING or score > 1 + _ROUNDING:
                return row, 4
            if pair and score > scores[row, pair - 1]:
                return row, 5
    return 0, 0


@compiled
def write_rows(
    out: NDArray[np.uint8],
    ids: NDArray[np.uint8],
    offsets: NDArray[np.int32],  # N+1, of the ids' bytes
    labels: NDArray[np.int32],  # N,K
    scores: NDArray[np.float32],  # N,K
) -> int:
    """Fill `out` with N lines and return how many bytes they take: at most `len(ids) + N(1 + 2 K NUMBER_WIDTH)`."""
    at = 0
    for row in range(labels.shape[0]):
        for place in range(offsets[row], offsets[row + 1]):
            out[at] = ids[place]
            at += 1
        for pair in range(labels.shape[1]):
            out[at] = _BLANK if pair else _COMMA
            at = _integer(out, at + 1, labels[row, pair])
            out[at] = _BLANK
            at = _confidence(out, at + 1, np.float64(scores[row, pair]))
        out[at] = _NEWLINE
        at += 1
    return at


@compiled
def _integer(out, at, number):
    """`%i` of a number that is not negative; returns where it ends."""
    if number < 10_000:
        for place in range(4):
            out[at + place] = _FOUR[number, place]
        return at + 1 + (number >= 10) + (number >= 100) + (number >= 1000)
    end = at + 5
    bound = 100_000
    while number >= bound:
        end += 1
        bound *= 10
    for place in range(end - 1, at - 1, -1):
        out[place] = _ZERO + number % 10
        number //= 10
    return end


@compiled
def _confidence(out, at, value):
    """`%g` of a float32's value, clipped to [0, 1]: six digits, to even on a tie; returns where it ends.

    Up to six bytes behind the end are overwritten.
    """
    if value <= 0 or value >= 1:
        out[at] = _ZERO + (value >= 1)
        return at + 1
    places = 6
    for power in range(_BELOW.size):
        places += value < _BELOW[power]
    if places <= _EXACT:
        digits = np.uint32(np.rint(value * _TENS[places]))  # the product is exact: rounded once, to even on a tie
    else:
        digits, places = _six_digits_of_tiny(value)
    if digits == 1_000_000:
        digits = np.uint32(100_000)
        places -= 1
    if places == 5:
        out[at] = _ZERO + 1
        return at + 1
    first, last = digits // np.uint32(1000), digits % np.uint32(1000)
    count = 3 + _SIZES[last] if last else _SIZES[first]
    if places <= 9:  # 0.0001 or more
        out[at] = _ZERO
        out[at + 1] = _POINT
        at += 2
        for _ in range(places - 6):
            out[at] = _ZERO
            at += 1
        for place in range(3):
            out[at + place] = _THREE[first, place]
            out[at + 3 + place] = _THREE[last, place]
        return at + count
    for place in range(3):
        out[at + 1 + place] = _THREE[first, place]
        out[at + 4 + place] = _THREE[last, place]
    out[at] = out[at + 1]
    at += 1
    if count > 1:
        out[at] = _POINT
        at += count
    exponent = places - 5
    out[at] = _E
    out[at + 1] = _MINUS
    out[at + 2] = _ZERO + exponent // 10
    out[at + 3] = _ZERO + exponent % 10
    return at + 4


@compiled
def _six_digits_of_tiny(value):
    """The same below 1e-7, by whole numbers: value = m 2**-s, so value 10**p = m 5**p / 2**(s - p)."""
    fraction, exponent = math.frexp(value)
    mantissa = np.uint64(fraction * 2.0**24)
    product = np.zeros(_LIMBS + 1, np.uint64)
    least = 5 - math.floor(exponent * _LOG_2)  # were the value as great as 2**exponent, which it is not quite
    for places in range(least, least + 2):
        carry = np.uint64(0)
        for limb in range(_LIMBS):
            carry += mantissa * _FIVES[places, limb]
            product[limb] = carry & np.uint64(0xFFFFFFFF)
            carry >>= np.uint64(32)
        product[_LIMBS] = carry
        shift = 24 - exponent - places  # at least 34, at most 122
        limb, bits = shift // 32, np.uint64(shift % 32)
        whole = (product[limb] | product[limb + 1] << np.uint64(32)) >> bits
        if whole >= 100_000:
            break
    # Of what was shifted out, the highest bit is a half; any below it make it more.
    limb, bits = (shift - 1) // 32, np.uint64((shift - 1) % 32)
    if product[limb] >> bits & np.uint64(1):
        more = product[limb] & ((np.uint64(1) << bits) - np.uint64(1))
        for lower in range(limb):
            more |= product[lower]
        whole += more != 0 or whole % np.uint64(2) == 1
    return np.uint32(whole), places
