"""What of a file each backbone is to see: pictures and windows of sound, piece by piece, for another process."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.artifacts.failures import EXHAUSTED
from pipeline.config.errors import StageError
from pipeline.features.audio import windows_at
from pipeline.features.backbone import Backbone
from pipeline.features.media import Faults, Streams, UnreadableMedia, look_at, reason_of
from pipeline.features.pictures import cropped
from pipeline.features.video import frames_at, is_turned, rgb_of

_PIECE = 1 << 20
"""Bytes of a piece: it costs less to send than to decode."""


class Piece(NamedTuple):
    """Some inputs of a backbone."""

    backbone: int
    """Its number."""
    inputs: np.ndarray
    """Cropped pictures, uint8 [n,h,w,3], or windows of sound, float32 [n,S]."""
    repeats: list[int]
    """How many frames each picture stands for; of sound, how many windows belong to each frame."""


class End(NamedTuple):
    """What was found in a file, after its pieces."""

    frames: int
    """Number of its frames; 0 if nothing could be read."""
    has_video: bool
    has_audio: bool
    fault: str
    """What is wrong with it; empty for nothing."""


def decode(backbones: list[Backbone], fps: Fraction, threads: int, path: Path) -> Iterator[Piece | End]:
    """Yield what each backbone is to see of a file, and what was found at the end; for a file that is unreadable too.

    Raises OSError where the machine can open no more files, whichever they are.

    Args:
        backbones: those of pictures get them in the order of time, then those of sound their windows.
        fps: frames a second.
        threads: of the decoder of pictures.
        path: of the file.
    """
    faults, frames, has_video, has_audio = Faults(), 0, False, False
    seeing = [number for number, each in enumerate(backbones) if each.task == "frames"]
    hearing = [number for number, each in enumerate(backbones) if each.task == "audio"]
    try:
        streams = look_at(path)
        has_video, has_audio = streams.has_video, streams.has_audio
        if seeing and has_video:
            for piece in _pictures(backbones, seeing, path, streams, fps, threads, faults):
                frames += sum(piece.repeats) * (piece.backbone == seeing[0])
                yield piece
        if has_audio:
            count = frames if seeing and has_video else None
            for number in hearing if count != 0 else []:
                heard = 0
                for piece in _windows(number, backbones[number], path, streams.start, fps, count, faults):
                    heard += len(piece.repeats)
                    yield piece
                count = heard
            frames = count or 0
    except StageError:  # PyAV is missing
        raise
    except UnreadableMedia as error:
        faults.add(str(error))
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise
        faults.add(f"the file cannot be read: {error.strerror or error}")
    except Exception as error:  # FFmpeg's odd cases, of one file in an archive: the others go on
        faults.add(f"it cannot be decoded ({type(error).__name__}: {reason_of(error)[:200]})")
    yield End(frames, has_video, has_audio, str(faults))


def _pictures(
    backbones: list[Backbone],
    seeing: list[int],
    path: Path,
    streams: Streams,
    fps: Fraction,
    threads: int,
    faults: Faults,
) -> Iterator[Piece]:
    held: dict[int, list[np.ndarray]] = {number: [] for number in seeing}
    repeats: list[int] = []
    size = 0
    for numbers, frame in frames_at(path, streams.start, fps, threads, faults):
        picture = rgb_of(frame)
        aspect = picture.shape[1] / picture.shape[0] * (1 / streams.pixel if is_turned(frame) else streams.pixel)
        for number in seeing:
            held[number].append(cropped(picture, backbones[number], aspect))
            size += held[number][-1].nbytes
        repeats.append(len(numbers))
        if size >= _PIECE:
            yield from (Piece(number, np.stack(held[number]), repeats) for number in seeing)
            held, repeats, size = {number: [] for number in seeing}, [], 0
    if repeats:
        yield from (Piece(number, np.stack(held[number]), repeats) for number in seeing)


def _windows(
    number: int, backbone: Backbone, path: Path, start: Fraction, fps: Fraction, count: int | None, faults: Faults
) -> Iterator[Piece]:
    held: list[np.ndarray] = []
    size = 0
    for windows in windows_at(path, start, fps, backbone.rate, backbone.samples, backbone.hop, count, faults):
        held.append(windows)
        size += windows.nbytes
        if size >= _PIECE:
            yield Piece(number, np.concatenate(held), [len(each) for each in held])
            held, size = [], 0
    if held:
        yield Piece(number, np.concatenate(held), [len(each) for each in held])
