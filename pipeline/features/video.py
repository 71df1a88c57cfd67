"""The frames of a video at the times k / fps, by presentation time, decoding no more than they need."""

import bisect
import heapq
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.features.media import Faults, Medium, load_av, open_medium, reason_of

_STANDS = Fraction(1, 5)
"""Seconds: a picture that is shown for longer stands until the next one; of others the nearest in time is taken."""
_MOST_PACKETS, _MOST_BYTES = 2000, 64 << 20
"""Between two key frames are no more packets and bytes, or everything is decoded."""
_SHORT, _SHORT_OF_ALL = 0.2, 1.0
"""Seconds: a file is cut off whose pictures end earlier by more than its header says of them, or of the whole file."""


_REORDERED = 16
"""Most frames by which the order of decoding differs from that of presentation."""


class Picked(NamedTuple):
    """A frame, and the numbers k of the times that it stands for, ascending and one after the other."""

    numbers: range
    frame: Any
    """An av.VideoFrame."""


class _DecodeAll(Exception):
    """Which frames are needed cannot be told from packets alone, or some are damaged."""


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
    for kind in (_decoded_as_needed, _decoded_all):
        found = Faults()
        try:
            for picked in kind(path, start, fps, threads, found):
                if picked.numbers.stop > done:
                    yield picked._replace(numbers=range(max(done, picked.numbers.start), picked.numbers.stop))
                    done = picked.numbers.stop
        except _DecodeAll:
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


# ------------------------------------------------------------------------------------------------- everything decoded


def _decoded_all(path: Path, start: Fraction, fps: Fraction, threads: int, faults: Faults) -> Iterator[Picked]:
    with open_medium(path) as medium:
        number, before, last, length = 0, None, start, Fraction(0)
        for stamp, frame in _timed(medium, threads, faults):
            time = stamp * medium.video.time_base if stamp is not None else last + length
            if before is not None and time <= last:  # a frame out of order stands for nothing
                continue
            first = number
            while before is not None and _nearer(last, time, start + number / fps):
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
        count = max(number, _count(end - start, fps), 1)
        if count > number:
            yield Picked(range(number, count), before)
        _check_end(medium, end - start, faults)


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
    decoder = _prepared(medium, threads)
    for packet in _packets(medium, faults):
        for frame in _decoded(decoder, packet, faults):
            if frame.is_corrupt:
                faults.add("some frames are damaged")
            yield frame


def _decoded(decoder: Any, packet: Any, faults: Faults) -> list[Any]:
    av = load_av()
    try:
        return decoder.decode(packet)
    except av.error.EOFError:
        return []
    except av.error.FFmpegError as error:
        at = f" at {float(packet.pts * packet.time_base):.1f} s" if packet and packet.pts is not None else ""
        faults.add(f"pictures{at} cannot be decoded: {reason_of(error)}")
        return []


def _packets(medium: Medium, faults: Faults) -> Iterator[Any]:
    """Yield the packets of the pictures, and None at the end."""
    av = load_av()
    packets = medium.container.demux(medium.video)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            faults.add(f"it cannot be read to its end: {reason_of(error)}")
            packet = None
        if packet is None or (not packet.size and packet.dts is None):  # PyAV ends with an empty one
            yield None
            return
        if packet.is_corrupt:
            faults.add("it is cut off or damaged")
        yield packet


def _prepared(medium: Medium, threads: int) -> Any:
    decoder = medium.video.codec_context
    decoder.thread_count = threads
    decoder.thread_type = "AUTO" if threads > 1 else "SLICE"
    return decoder


def _nearer(before: Fraction, after: Fraction, wanted: Fraction) -> bool:
    """Return whether, for a wanted moment, a frame is to be taken and not the one after."""
    if after <= wanted:
        return False
    return after - before > _STANDS or before >= wanted or wanted - before <= after - wanted


def _count(duration: Fraction, fps: Fraction) -> int:
    """Return how many of the times k / fps lie before the end of a duration."""
    return max(0, -int(-duration * fps // 1))


def _check_end(medium: Medium, length: Fraction, faults: Faults) -> None:
    """Note that a file is cut off, if its header says that its pictures are longer."""
    stream, tolerated = medium.video, _SHORT
    said = float(stream.duration * stream.time_base) if stream.duration else medium.duration
    if not stream.duration and medium.audio is not None:  # which may be longer than the pictures
        tolerated = _SHORT_OF_ALL + 0.02 * (said or 0)
    if said and said - float(length) > tolerated:
        faults.add(f"its pictures end after {float(length):.1f} of {said:.1f} s: it is cut off")


# ----------------------------------------------------------------------------------------------- what is needed decoded


class _Group:
    """The packets from a key frame to the next one."""

    def __init__(self) -> None:
        self.packets: list[Any] = []
        self.size = 0
        self.needed = -1
        """Number of the last packet that must be decoded; -1 for none."""

    @property
    def key(self) -> int:
        return self.packets[0].pts

    def add(self, packet: Any) -> None:
        self.packets.append(packet)
        self.size += packet.size
        if len(self.packets) > _MOST_PACKETS or self.size > _MOST_BYTES:
            raise _DecodeAll

    def leads(self) -> bool:
        """Return whether it begins with needed frames that are shown before its key frame."""
        return any(packet.pts < self.key for packet in self.packets[: self.needed + 1])


class _Picker:
    """Chooses by the packets' times which frames stand for which of the times k / fps."""

    def __init__(self, base: Fraction, start: Fraction, fps: Fraction):
        self._base, self._start, self._fps = base, start, fps
        self._times: list[int] = []
        self._groups: dict[int, _Group] = {}
        self._places: dict[int, int] = {}
        self._last, self._length = -(1 << 62), 0
        self.number = 0
        self.wanted: dict[int, list[int]] = {}
        """Time of a frame -> first and last number k that it stands for."""

    def add(self, group: _Group) -> None:
        """Take notice of a whole group."""
        for place, packet in enumerate(group.packets):
            if packet.is_discard:
                continue
            if packet.pts in self._groups:
                raise _DecodeAll
            bisect.insort(self._times, packet.pts)
            self._groups[packet.pts], self._places[packet.pts] = group, place
            if packet.pts >= self._last:
                self._last, self._length = packet.pts, packet.duration

    def settle(self, until: int | None) -> Fraction:
        """Choose the frames for all times before `until`, or to the end; return the end of what is known, seconds."""
        if not self._times:
            raise _DecodeAll
        length = self._length or (self._times[-1] - self._times[-2] if len(self._times) > 1 else 0)
        end = (self._last + length) * self._base
        while True:
            wanted = self._start + self.number / self._fps
            if until is None:
                if self.number and wanted >= end:
                    return end
            elif wanted >= until * self._base:
                break
            after = bisect.bisect_right(self._times, wanted / self._base)
            before = max(after - 1, 0)
            if before + 1 < len(self._times) and after > 0:
                one, other = self._times[before] * self._base, self._times[before + 1] * self._base
                before += not _nearer(one, other, wanted)
            self._choose(self._times[before])
        del self._times[: max(bisect.bisect_right(self._times, until) - 2, 0)]
        return end

    def _choose(self, time: int) -> None:
        group = self._groups[time]
        group.needed = max(group.needed, self._places[time])
        self.wanted.setdefault(time, [self.number, self.number])[1] = self.number
        self.number += 1

    def forget(self, group: _Group) -> None:
        for packet in group.packets:
            self._groups.pop(packet.pts, None)
            self._places.pop(packet.pts, None)


def _decoded_as_needed(path: Path, start: Fraction, fps: Fraction, threads: int, faults: Faults) -> Iterator[Picked]:
    """Yield as `frames_at` does. Raises _DecodeAll where packets do not tell what is needed, or one is damaged."""
    with open_medium(path) as medium:
        decoder, picker = _Decoder(_prepared(medium, threads), faults), _Picker(medium.video.time_base, start, fps)
        groups: list[_Group] = []
        if medium.orders_by_decoding:
            raise _DecodeAll
        for packet in _packets(medium, faults):
            if faults.told or (packet is not None and (packet.pts is None or not (groups or packet.is_keyframe))):
                raise _DecodeAll
            if packet is not None and not packet.is_keyframe:
                groups[-1].add(packet)
                continue
            if groups:
                picker.add(groups[-1])
            if packet is None:
                break
            if len(groups) > 1:
                picker.settle(groups[-1].key)
                yield from decoder.frames(groups[0], groups[1].leads(), picker)
                picker.forget(groups.pop(0))
            groups.append(_Group())
            groups[-1].add(packet)
        end = picker.settle(None)
        for group, after in zip(groups, [*groups[1:], None]):
            yield from decoder.frames(group, after is not None and after.leads(), picker)
        yield from decoder.rest(picker)
        if picker.wanted:
            raise _DecodeAll  # some did not come out of the decoder
        _check_end(medium, end - start, faults)


class _Decoder:
    """Decodes the needed part of groups."""

    def __init__(self, decoder: Any, faults: Faults):
        self._decoder, self._faults = decoder, faults
        self._at_work = False
        """Whether it has decoded the group before as a whole, and goes on with the next one."""

    def frames(self, group: _Group, whole: bool, picker: _Picker) -> Iterator[Picked]:
        """Yield the needed frames of a group; `whole` if the next one needs it as a whole."""
        last = len(group.packets) - 1 if whole else group.needed
        for packet in group.packets[: last + 1]:
            yield from self._decode(packet, picker)
            self._at_work = True
        if last < len(group.packets) - 1:
            yield from self.rest(picker)

    def rest(self, picker: _Picker) -> Iterator[Picked]:
        """Yield the needed frames that the decoder still holds, and make it ready for another group."""
        if self._at_work:
            yield from self._decode(None, picker)
            self._decoder.flush_buffers()
        self._at_work = False

    def _decode(self, packet: Any, picker: _Picker) -> Iterator[Picked]:
        for frame in _decoded(self._decoder, packet, self._faults):
            if (numbers := picker.wanted.pop(frame.pts, None)) is not None:
                if frame.is_corrupt:
                    self._faults.add("some frames are damaged")
                    raise _DecodeAll
                yield Picked(range(numbers[0], numbers[1] + 1), frame)
        if self._faults.told:
            raise _DecodeAll
