"""Decode no more of a video than the frames that are wanted need: packets tell which frame stands for which time."""

import bisect
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from pipeline.features.media import Faults, Medium, open_medium
from pipeline.features.packets import Picked, check_end, decoded, is_nearer, packets_of, prepared

_MANY = 4
"""Groups of pictures that are worth a leap."""
_MOST_PACKETS, _MOST_BYTES = 2000, 64 << 20
"""Between two key frames are no more packets and bytes, or everything is decoded."""


class DecodeAll(Exception):
    """Which frames are needed cannot be told from packets alone, or some are damaged."""


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
            raise DecodeAll

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
                raise DecodeAll
            bisect.insort(self._times, packet.pts)
            self._groups[packet.pts], self._places[packet.pts] = group, place
            if packet.pts >= self._last:
                self._last, self._length = packet.pts, packet.duration

    def settle(self, until: int | None) -> Fraction:
        """Choose the frames for all times before `until`, or to the end; return the end of what is known, seconds."""
        if not self._times:
            raise DecodeAll
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
                before += not is_nearer(one, other, wanted)
            self._choose(self._times[before])
        del self._times[: max(bisect.bisect_right(self._times, until) - 2, 0)]
        return end

    def _choose(self, time: int) -> None:
        group = self._groups[time]
        group.needed = max(group.needed, self._places[time])
        self.wanted.setdefault(time, [self.number, self.number])[1] = self.number
        self.number += 1

    def far_from(self, key: int, after: int) -> int | None:
        """Return where to go on reading, if the next time is many groups away from these two key frames."""
        length = after - key
        wanted = (self._start + self.number / self._fps) / self._base
        return int(wanted - length) if wanted - after > _MANY * length > 0 else None

    def begin_anew(self, group: _Group) -> None:
        """Forget all times, and the last group: what comes next does not follow it."""
        self.forget(group)
        self._times.clear()

    def forget(self, group: _Group) -> None:
        for packet in group.packets:
            self._groups.pop(packet.pts, None)
            self._places.pop(packet.pts, None)


def decoded_as_needed(path: Path, start: Fraction, fps: Fraction, threads: int, faults: Faults) -> Iterator[Picked]:
    """Yield as `frames_at` does. Raises DecodeAll where packets do not tell what is needed, or one is damaged."""
    with open_medium(path) as medium:
        decoder, picker = _Decoder(prepared(medium, threads), faults), _Picker(medium.video.time_base, start, fps)
        groups: list[_Group] = []
        if medium.orders_by_decoding:
            raise DecodeAll
        packets, left = packets_of(medium, faults), None
        while True:
            packet = next(packets)
            if packet is not None and not groups and left is not None and (packet.pts or left) <= left:
                raise DecodeAll  # it would leap for ever
            if faults.told or (packet is not None and (packet.pts is None or not (groups or packet.is_keyframe))):
                raise DecodeAll
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
                if (place := picker.far_from(groups[0].key, packet.pts)) is not None and _can_seek(medium, place):
                    yield from decoder.frames(groups[0], False, picker)
                    yield from decoder.rest(picker)
                    left = groups[0].key
                    picker.begin_anew(groups.pop(0))
                    medium.container.seek(place, stream=medium.video)
                    packets = packets_of(medium, faults)
                    continue
            groups.append(_Group())
            groups[-1].add(packet)
        end = picker.settle(None)
        for group, after in zip(groups, [*groups[1:], None]):
            yield from decoder.frames(group, after is not None and after.leads(), picker)
        yield from decoder.rest(picker)
        if picker.wanted:
            raise DecodeAll  # some did not come out of the decoder
        check_end(medium, end - start, faults)


def _can_seek(medium: Medium, place: int) -> bool:
    """Return whether a file's index leads to a place before its end; other files are read packet by packet."""
    return medium.has_index and bool(medium.video.duration) and place < medium.video.duration


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
        for frame in decoded(self._decoder, packet, self._faults):
            if (numbers := picker.wanted.pop(frame.pts, None)) is not None:
                if frame.is_corrupt:
                    self._faults.add("some frames are damaged")
                    raise DecodeAll
                yield Picked(range(numbers[0], numbers[1] + 1), frame)
        if self._faults.told:
            raise DecodeAll
