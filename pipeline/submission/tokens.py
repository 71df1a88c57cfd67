"""Lines of the challenge's file taken apart, compiled: which are well written, and the pairs of those that are."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.runtime.compiled import compiled

GOOD, DOUBTFUL, BROKEN = range(3)
"""Nothing is wrong with a line; something may be; it cannot be taken apart."""
_NEWLINE, _BLANK, _COMMA, _PLUS, _MINUS, _POINT, _E, _SMALL_E, _ZERO, _NINE = b"\n ,+-.Ee09"
_DIGITS = 18  # that fit an int64
_TENS = 10 ** np.arange(_DIGITS + 1)
_EXACT = 22  # powers of ten up to here are float64s, as are whole numbers below 2**53: one operation rounds once
_POWERS = 10.0 ** np.arange(_EXACT + 1)
_FAR = 1 << 40  # further from 0 than any exponent of a number that fits a file


class Lines(NamedTuple):
    """What `take_apart` finds: N lines, and the M pairs of those that are not broken, one after the other."""

    states: NDArray[np.uint8]  # N
    starts: NDArray[np.int64]  # N+1, bytes
    commas: NDArray[np.int64]  # N, where the id ends; the line's start where there is no comma
    sizes: NDArray[np.int64]  # N, pairs
    labels: NDArray[np.int32]  # M
    scores: NDArray[np.float64]  # M, NaN where `float` of the text must tell
    texts: NDArray[np.int64]  # M,2: start and end of that text


def take_apart(text: bytes, num_classes: int, top_k: int) -> Lines:
    """Lines that each end with a newline.

    A line is good if it is an id, a comma, and at most `top_k` pairs of a label and a confidence parted by one blank:
    labels distinct whole numbers below `num_classes`, confidences decimal numbers from 0 to 1 that do not ascend, both
    compared as they are written, without rounding. What an id is made of is not looked at.
    """
    return Lines(*_take_apart(np.frombuffer(text, np.uint8), text.count(b"\n"), num_classes, top_k))


@compiled
def _take_apart(text, count, num_classes, top_k):
    states = np.full(count, GOOD, np.uint8)
    starts, commas, sizes = np.zeros(count + 1, np.int64), np.zeros(count, np.int64), np.zeros(count, np.int64)
    room = text.size // 4 + 1  # a pair takes four bytes at least
    labels, scores, texts = np.empty(room, np.int32), np.empty(room, np.float64), np.empty((room, 2), np.int64)
    used = np.full(num_classes, -1, np.int64)  # the last line that a label is in
    at = pair = 0
    for line in range(count):
        start, first = at, pair
        starts[line] = commas[line] = start
        while text[at] != _COMMA and text[at] != _NEWLINE:
            at += 1
        if text[at] == _COMMA:
            commas[line] = at
        if at == start or text[at] == _NEWLINE:
            states[line] = BROKEN
        last = (1, _TENS[_DIGITS - 1])  # the number 1
        while text[at] != _NEWLINE:
            label, at = _label(text, at + 1, num_classes)
            if label < 0 or text[at] != _BLANK:
                states[line] = BROKEN
                break
            texts[pair, 0] = at + 1
            state, scores[pair], number, at = _confidence(text, at + 1)
            if state == BROKEN or (text[at] != _BLANK and text[at] != _NEWLINE):
                states[line] = BROKEN
                break
            if state == DOUBTFUL or number > last or used[label] == line:
                states[line] = max(states[line], DOUBTFUL)
            texts[pair, 1], labels[pair], used[label], last = at, label, line, number
            pair += 1
        sizes[line] = pair - first
        if pair - first > top_k:
            states[line] = max(states[line], DOUBTFUL)
        while text[at] != _NEWLINE:
            at += 1
        at += 1
    starts[count] = at
    return states, starts, commas, sizes, labels[:pair], scores[:pair], texts[:pair]


@compiled
def _label(text, at, num_classes):
    """A whole number below `num_classes`, written plainly, or -1; and where it ends."""
    start, label = at, 0
    while _ZERO <= text[at] <= _NINE and label < num_classes:
        label = 10 * label + text[at] - _ZERO
        at += 1
    if at == start or label >= num_classes or (text[start] == _ZERO and at > start + 1):
        return -1, at
    return label, at


@compiled
def _confidence(text, at):
    """A decimal number: whether it is one, from 0 up; its value; what orders it among others; where it ends.

    Of two numbers the lesser has the lesser (place of its first digit, its digits), exactly; 0 the least.
    """
    negative = text[at] == _MINUS
    at += text[at] == _MINUS or text[at] == _PLUS
    digits = size = written = places = 0
    after_point = False
    while _ZERO <= text[at] <= _NINE or (text[at] == _POINT and not after_point):
        if text[at] == _POINT:
            after_point = True
        else:
            written += 1
            places += after_point
            if digits or text[at] != _ZERO:
                size += 1
                if size <= _DIGITS:
                    digits = 10 * digits + text[at] - _ZERO
        at += 1
    exponent = 0
    if written and (text[at] == _E or text[at] == _SMALL_E):
        at += 1
        down = text[at] == _MINUS
        at += text[at] == _MINUS or text[at] == _PLUS
        start = at
        while _ZERO <= text[at] <= _NINE:
            exponent = min(10 * exponent + text[at] - _ZERO, _FAR)
            at += 1
        if at == start:
            written = 0
        if down:
            exponent = -exponent
    if written == 0:
        return BROKEN, 0.0, (0, 0), at
    if digits == 0:
        return GOOD, 0.0, (-2 * _FAR, 0), at
    if negative or size > _DIGITS:
        return DOUBTFUL, np.nan, (0, 0), at
    power = exponent - places
    value = np.nan
    if digits < 1 << 53 and -_EXACT <= power <= _EXACT:
        value = digits / _POWERS[-power] if power < 0 else digits * _POWERS[power]
    return GOOD, value, (size + power, digits * _TENS[_DIGITS - size]), at
