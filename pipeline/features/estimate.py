"""Tell before work begins how many hours of video there are, how long they take, and how large features are."""

import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.config.wording import counted
from pipeline.features.decoding import Piece, decode
from pipeline.features.media import UnreadableMedia, look_at
from pipeline.features.networks import Network

_FILES, _SECONDS = 4, 2.0
"""So many files are decoded for so long, to see how fast that is."""


class Estimate(NamedTuple):
    """What is to be expected of an extraction."""

    files: int
    unknown: int
    """Files whose headers do not say how long they are, or that cannot be opened."""
    seconds: float
    """Of pictures or sound, as headers say."""
    work: float
    """Seconds that it takes."""
    size: int
    """Bytes of the features, as they are extracted."""

    def __str__(self) -> str:
        told = f"{counted(self.files, 'file')}, {self.seconds / 3600:,.2f} hours"
        if self.unknown:
            told += f" and {counted(self.unknown, 'file')} of unknown length"
        return f"{told}; about {_duration(self.work)}, and {self.size / 1e6:,.1f} MB of features"


def estimate(paths: Sequence[Path], networks: Sequence[Network], fps: Fraction, workers: int) -> Estimate:
    """Return what is to be expected; a few files are decoded for some seconds, and each network computes one batch."""
    seconds, unknown, known = 0.0, 0, []
    for path in paths:
        try:
            length = look_at(path).duration
        except (UnreadableMedia, OSError):
            length = None
        seconds += length or 0
        unknown += length is None
        known += [path] * bool(length)
    chosen = (
        [known[number] for number in sorted({*np.linspace(0, len(known) - 1, _FILES).astype(int)})] if known else []
    )
    decoding = [cost for path in chosen if (cost := _decoding(path, networks, fps)) is not None]
    computing = 0.0
    for network in networks:
        begin = time.perf_counter()
        network.trial()
        windows = max(1, round(1 / (network.backbone.hop * fps))) if network.backbone.hop else 1
        computing += (time.perf_counter() - begin) / network.batch / network.at_once * windows * float(fps)
    each = (sum(decoding) / len(decoding) if decoding else 0.0) / max(workers, 1)
    on_processor = any(network.device != "GPU" for network in networks)
    work = seconds * (each + computing if on_processor else max(each, computing))
    size = round(seconds * float(fps) * 4 * sum(network.size for network in networks))
    return Estimate(len(paths), unknown, seconds, work, size)


def _decoding(path: Path, networks: Sequence[Network], fps: Fraction) -> float | None:
    """Return how many seconds it takes to decode a second of a file, from its beginning."""
    begin, frames = time.perf_counter(), {}
    for piece in decode([network.backbone for network in networks], fps, 1, path):
        if isinstance(piece, Piece):
            frames[piece.backbone] = frames.get(piece.backbone, 0) + len(piece.repeats)
        if time.perf_counter() - begin > _SECONDS:
            break
    done = max(frames.values(), default=0)
    return (time.perf_counter() - begin) / (done / float(fps)) if done else None


def _duration(seconds: float) -> str:
    if seconds < 90:
        return counted(round(seconds), "second")
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
