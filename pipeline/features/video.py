"""The frames of a video at the times k / fps, by presentation time, decoding no more than they need."""

import heapq
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.features.as_needed import DecodeAll, decoded_as_needed
from pipeline.features.media import Faults, Medium, open_medium
from pipeline.features.packets import Picked, check_end, count_of, decoded, is_nearer, packets_of, prepared

_REORDERED = 16
"""Most frames by which the order of decoding differs from that of presentation."""


def frames_at(path: Path, start: Fraction, fps: Fraction, threads: int, faults: Faults) -> Iterator[Picked]:
    """Yield the frames of a video at the times start + k / fps, k = 0, 1, ..., to its end.

    The frame nearest to a time is taken; where a picture stands for longer than 0.2 seconds, the one that stands then.
    Before the first frame, that is taken. Groups of pictures without a needed frame are not decoded, nor is what
    follows the last needed one; the frames are those that decoding everything gives.

    Args:
        path: of the file; it has pictures.
        start: seconds; see `media.Streams`.
        fps: frames a second.
        threads: of the decoder.
        faults: gets what is wrong with the file. What can be read is yielded all the same.

    Raises UnreadableMedia or OSError as `open_medium` does.
    """
    done = 0
    for kind in (decoded_as_needed, _decoded_all):
        found = Faults()
        try:
            for picked in kind(path, start, fps, threads, found):
                if picked.numbers.stop > done:
                    yield picked._replace(numbers=range(max(done, picked.numbers.start), picked.numbers.stop))
                    done = picked.numbers.stop
        except DecodeAll:
            continue
        finally:
            for fault in found.told:
                faults.add(fault)
        return


def rgb_of(frame: Any) -> np.ndarray:
    """Return the picture of a frame as it is to be seen, uint8 [height,width,3]: turned upright, one field of two."""
    picture = frame.to_ndarray(format="rgb24")
    if frame.interlaced_frame:  # two moments, line by line: the first alone has no combs
        picture = np.repeat(picture[::2], 2, axis=0)[: len(picture)]
    if turns := round(frame.rotation / 90) % 4:
        picture = np.rot90(picture, turns)
    return picture


def is_turned(frame: Any) -> bool:
    """Return whether height and width of a picture change places before it is seen."""
    return round(frame.rotation / 90) % 2 == 1


def _decoded_all(path: Path, start: Fraction, fps: Fraction, threads: int, faults: Faults) -> Iterator[Picked]:
    """Yield as `frames_at` does; every frame is decoded."""
    with open_medium(path) as medium:
        number, before, last, length = 0, None, start, Fraction(0)
        for stamp, frame in _timed(medium, threads, faults):
            time = stamp * medium.video.time_base if stamp is not None else last + length
            if before is not None and time <= last:  # a frame out of order stands for nothing
                continue
            first = number
            while before is not None and is_nearer(last, time, start + number / fps):
                number += 1
            if number > first:
                yield Picked(range(first, number), before)
            if frame.duration:
                length = frame.duration * medium.video.time_base
            else:
                length = time - last if before is not None else 1 / (medium.video.average_rate or fps)
            before, last = frame, time
        if before is None:
            faults.add("no frame of its pictures can be decoded")
            return
        end = last + length
        count = max(number, count_of(end - start, fps), 1)
        if count > number:
            yield Picked(range(number, count), before)
        check_end(medium, end - start, faults)


def _timed(medium: Medium, threads: int, faults: Faults) -> Iterator[tuple[int | None, Any]]:
    """Yield the frames that can be decoded with their times, in units of the stream's time base; None if unknown."""
    held: deque[Any] = deque()
    times: list[int] = []
    for frame in _frames(medium, threads, faults):
        time = frame.pts if frame.pts is not None else frame.dts
        if time is None or not medium.orders_by_decoding:
            yield time, frame
            continue
        held.append(frame)
        heapq.heappush(times, time)
        if len(held) > _REORDERED:
            yield heapq.heappop(times), held.popleft()
    while held:
        yield heapq.heappop(times), held.popleft()


def _frames(medium: Medium, threads: int, faults: Faults) -> Iterator[Any]:
    """Yield the frames that can be decoded, in the order of their presentation."""
    decoder = prepared(medium, threads)
    for packet in packets_of(medium, faults):
        for frame in decoded(decoder, packet, faults):
            if frame.is_corrupt:
                faults.add("some frames are damaged")
            yield frame
