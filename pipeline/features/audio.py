"""The sound of a file in windows that begin at the times of its frames: one channel, resampled, placed by its times."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.features.media import Faults, Medium, demuxed, load_av, open_medium, reason_of

_SHORT = 1.0
"""Seconds by which sound may end earlier than the header says."""
_GAP = 0.02
"""Seconds: sound that comes later than the sound before it has ended by more than this is preceded by silence."""


def windows_at(
    path: Path,
    start: Fraction,
    fps: Fraction,
    rate: int,
    samples: int,
    hop: float,
    count: int | None,
    faults: Faults,
) -> Iterator[np.ndarray]:
    """Yield the windows of each frame: those that begin at start + k / fps and every `hop` seconds until the next.

    Args:
        path: of the file; it has sound.
        start: seconds; see `media.Streams`.
        fps: frames a second.
        rate: samples a second, to which the sound is resampled.
        samples: of a window. Windows that reach beyond the end are filled up with silence.
        hop: seconds from window to window; 0 for one window a frame.
        count: of the frames; None for as many as begin before the sound ends, and at least 1.
        faults: gets what is wrong with the file.

    Yields:
        float32 [w,samples], between -1 and 1: the windows of frame k, w of them, at least 1.

    Raises UnreadableMedia or OSError as `open_medium` does.
    """
    starts = _starts(fps, hop)
    line = _Line()
    ended = False
    number = 0
    with open_medium(path) as medium:
        pieces = _resampled(medium, start, rate, faults)
        while count is None or number < count:
            begins = [round((number / fps + shift) * rate) for shift in starts]
            while not ended and line.end < begins[-1] + samples:
                piece = next(pieces, None)
                ended = piece is None
                if piece is not None:
                    line.add(piece)
            if ended and count is None and number and begins[0] >= line.end:
                _check_end(medium, line.end / rate, faults)
                return
            yield np.stack([line.window(begin, samples) for begin in begins])
            number += 1
            line.forget(round(number / fps * rate))


def _check_end(medium: Medium, got: float, faults: Faults) -> None:
    """Note that a file without pictures is cut off, if its header says that it is longer; of some that is a guess."""
    said = medium.duration or 0
    if medium.video is None and said - got > _SHORT + 0.05 * said:
        faults.add(f"its sound ends after {got:.1f} of {said:.1f} s: it is cut off")


def _starts(fps: Fraction, hop: float) -> list[Fraction]:
    """Return when the windows of a frame begin after the frame, seconds."""
    step = Fraction(hop).limit_denominator(100_000)
    count = max(1, -int(-(1 / fps) // step)) if step else 1
    return [number * step for number in range(count)]


class _Line:
    """Samples from some number on; before the first and after the last is silence."""

    def __init__(self) -> None:
        self._pieces: list[np.ndarray] = []
        self._begin = 0
        self.end = 0

    def add(self, piece: np.ndarray) -> None:
        self._pieces.append(piece)
        self.end += len(piece)

    def window(self, begin: int, samples: int) -> np.ndarray:
        if len(self._pieces) > 1:
            self._pieces = [np.concatenate(self._pieces)]
        found = np.zeros(samples, np.float32)
        if self._pieces:
            there = self._pieces[0][begin - self._begin : begin - self._begin + samples]
            found[: len(there)] = there
        return found

    def forget(self, until: int) -> None:
        """Let go of the samples before a number."""
        while self._pieces and self._begin + len(self._pieces[0]) <= until:
            self._begin += len(self._pieces.pop(0))
        if self._pieces and until > self._begin:
            self._pieces[0] = self._pieces[0][until - self._begin :]
            self._begin = until


def _resampled(medium: Medium, start: Fraction, rate: int, faults: Faults) -> Iterator[np.ndarray]:
    """Yield the sound from the file's beginning on, float32 [n], without gaps; what is missing is silence."""
    av = load_av()
    resampler, kind = None, None
    for frame in _placed(medium, start, faults):
        if kind != (own := (frame.format.name, frame.layout.name, frame.sample_rate)):
            if resampler is not None:
                yield from _values(resampler.resample(None))
            resampler, kind = av.AudioResampler("flt", "mono", rate, options={"rematrix_maxval": "1"}), own
        frame.pts = None  # the resampler would stretch sound where times jump
        yield from _values(resampler.resample(frame))
    if resampler is not None:
        yield from _values(resampler.resample(None))


def _values(frames: list[Any]) -> Iterator[np.ndarray]:
    for frame in frames:
        yield np.ascontiguousarray(frame.to_ndarray().reshape(-1), np.float32)


def _placed(medium: Medium, start: Fraction, faults: Faults) -> Iterator[Any]:
    """Yield frames of sound that follow each other: silence before one that is late, and what is early cut away."""
    av = load_av()
    done = Fraction(0)
    for frame in _frames(medium, faults):
        time = frame.pts * (frame.time_base or medium.audio.time_base) if frame.pts is not None else None
        late = 0 if time is None else time - start - done
        if late > _GAP:
            silence = round(late * frame.sample_rate)
            while silence > 0:
                length = min(silence, frame.sample_rate)
                yield _like(av, frame, frame.to_ndarray(), length)
                silence -= length
            done += late
        elif late < -_GAP:
            early = round(-late * frame.sample_rate)
            if early >= frame.samples:
                continue
            done += Fraction(frame.samples - early, frame.sample_rate)
            yield _like(av, frame, frame.to_ndarray(), frame.samples - early, early)
            continue
        done += Fraction(frame.samples, frame.sample_rate)
        yield frame


def _like(av: Any, frame: Any, values: np.ndarray, samples: int, first: int | None = None) -> Any:
    """Return a frame of the same format: silence, or the samples from `first` on."""
    channels = 1 if frame.format.is_planar else len(frame.layout.channels)
    if first is None:
        level = 128 if frame.format.name.startswith("u8") else 0
        values = np.full((len(values), samples * channels), level, values.dtype)
    else:
        values = np.ascontiguousarray(values[:, first * channels :])
    made = av.AudioFrame.from_ndarray(values, format=frame.format.name, layout=frame.layout.name)
    made.sample_rate = frame.sample_rate
    made.time_base = Fraction(1, frame.sample_rate)
    return made


def _frames(medium: Medium, faults: Faults) -> Iterator[Any]:
    av = load_av()
    for packet in demuxed(medium, medium.audio, faults):
        try:
            yield from packet.decode()
        except av.error.EOFError:
            continue
        except av.error.FFmpegError as error:
            faults.add(f"sound cannot be decoded: {reason_of(error)}")
