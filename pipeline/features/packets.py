"""What packets and frames of a video tell: which frame is nearest to a time, where the end is, what is damaged."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

from pipeline.features.media import Faults, Medium, demuxed, load_av, reason_of

_STANDS = Fraction(1, 5)
"""Seconds: a picture that is shown for longer stands until the next one; of others the nearest in time is taken."""
_SHORT, _SHORT_OF_ALL = 0.2, 1.0
"""Seconds: a file is cut off whose pictures end earlier by more than its header says of them, or of the whole file."""


class Picked(NamedTuple):
    """A frame, and the numbers k of the times that it stands for, ascending and one after the other."""

    numbers: range
    frame: Any
    """An av.VideoFrame."""


def prepared(medium: Medium, threads: int) -> Any:
    decoder = medium.video.codec_context
    decoder.thread_count = threads
    decoder.thread_type = "AUTO" if threads > 1 else "SLICE"
    return decoder


def packets_of(medium: Medium, faults: Faults) -> Iterator[Any]:
    """Yield the packets of the pictures, and None at the end."""
    for packet in demuxed(medium, medium.video, faults):
        if not packet.size and packet.dts is None:  # PyAV ends with an empty one
            break
        if packet.is_corrupt:
            faults.add("it is cut off or damaged")
        yield packet
    yield None


def decoded(decoder: Any, packet: Any, faults: Faults) -> list[Any]:
    av = load_av()
    try:
        return decoder.decode(packet)
    except av.error.EOFError:
        return []
    except av.error.FFmpegError as error:
        at = f" at {float(packet.pts * packet.time_base):.1f} s" if packet and packet.pts is not None else ""
        faults.add(f"pictures{at} cannot be decoded: {reason_of(error)}")
        return []


def is_nearer(before: Fraction, after: Fraction, wanted: Fraction) -> bool:
    """Return whether, for a wanted moment, a frame is to be taken and not the one after."""
    if after <= wanted:
        return False
    return after - before > _STANDS or before >= wanted or wanted - before <= after - wanted


def count_of(duration: Fraction, fps: Fraction) -> int:
    """Return how many of the times k / fps lie before the end of a duration."""
    return max(0, -int(-duration * fps // 1))


def check_end(medium: Medium, length: Fraction, faults: Faults) -> None:
    """Note that a file is cut off, if its header says that its pictures are longer."""
    stream, tolerated = medium.video, _SHORT
    said = float(stream.duration * stream.time_base) if stream.duration else medium.duration
    if not stream.duration and medium.audio is not None:  # which may be longer than the pictures
        tolerated = _SHORT_OF_ALL + 0.02 * (said or 0)
    if said and said - float(length) > tolerated:
        faults.add(f"its pictures end after {float(length):.1f} of {said:.1f} s: it is cut off")
