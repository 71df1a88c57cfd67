"""A file of pictures and sound: which streams it has, when it begins, how long it is, what FFmpeg says of it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.artifacts.failures import EXHAUSTED
from pipeline.config.errors import StageError
from pipeline.config.wording import first_lines
from pipeline.inputs.records.file_kinds import kind_of_file

if TYPE_CHECKING:
    import av

NO_MEDIA = {"npy", "npz", "hdf5", "parquet", "arrow", "matlab", "gzip", "xz", "bzip2", "zstd", "7z", "rar", "png"}
NO_MEDIA |= {"jpeg", "pdf", "xls", "xlsx", "sqlite", "tar", "zip", "bundle", "keras", "pytorch", "pickle", "tfrecord"}
NO_MEDIA |= {"onnx", "html", "xml", "lfs", "json", "csv", "text", "folder"}
"""Kinds of files, as `kind_of_file` tells them, in which FFmpeg is not asked for streams: it takes text for a video."""
_LOOKED_AT = 2000
"""Packets in which the first picture and the first sound are looked for."""
EXTRA = "it is part of the extra video: .venv/bin/uv sync --inexact --extra video"
SETTLED = 1_000
"""FFmpeg says that a file is unreadable in hundreds of ways: so many characters of one are told."""


class UnreadableMedia(ValueError):
    """A file has no stream that can be read; the message says why."""


@dataclass
class Faults:
    """What is wrong with a file, as far as decoding told."""

    told: list[str] = field(default_factory=list)

    def add(self, fault: str) -> None:
        if fault not in self.told:
            self.told.append(fault)

    def __str__(self) -> str:
        return "; ".join(first_lines(self.told, 3))


def load_av() -> Any:
    """Return the module av. Raises StageError where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise StageError(f"PyAV (the package av) reads videos and is not installed ({error}); {EXTRA}") from error
    av.logging.set_level(av.logging.PANIC)  # damage is told once for a file, not once for a macroblock
    return av


def is_medium(path: Path) -> bool:
    """Return whether a file may hold pictures that move, or sound. Raises OSError if it cannot be read."""
    kind = kind_of_file(path)
    return kind is None or kind.format not in NO_MEDIA


class Medium:
    """An open file.

    Attributes:
        video, audio: its streams of moving pictures and of sound, or None.
        duration: seconds, as the file's header says; None if it does not.
    """

    def __init__(self, container: "av.container.InputContainer"):
        self.container = container
        self.video = _moving(container)
        self.audio = next((each for each in container.streams.audio if each.codec_context is not None), None)
        self.duration = container.duration / 1_000_000 if container.duration else None

    @property
    def has_index(self) -> bool:
        """Return whether its header says where each picture lies, so that seeking costs nothing."""
        return "mp4" in self.container.format.name.split(",")

    @property
    def orders_by_decoding(self) -> bool:
        """Return whether times of pictures are those of decoding, so that they need not ascend as they are shown."""
        return self.container.format.name == "avi"


def _moving(container: "av.container.InputContainer") -> Any:
    """Return the stream of moving pictures; a cover is none."""
    for stream in container.streams.video:
        if stream.codec_context is not None and "attached_pic" not in (stream.disposition.name or ""):
            return stream
    return None


@contextlib.contextmanager
def open_medium(path: Path) -> Iterator[Medium]:
    """Open a file.

    Raises:
        UnreadableMedia: FFmpeg cannot open it, or it has neither moving pictures nor sound.
        OSError: the system refuses to read it.
    """
    av = load_av()
    with path.open("rb"):  # so that the system's refusals are the system's errors
        pass
    try:
        container = _opened(av, path)
    except av.error.FFmpegError as error:
        if error.errno in EXHAUSTED:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise UnreadableMedia(f"it cannot be opened: {reason_of(error)}") from error
    with container:
        medium = Medium(container)
        if medium.video is None and medium.audio is None:
            raise UnreadableMedia("there are neither moving pictures nor sound in it")
        yield medium


def _opened(av: Any, path: Path) -> Any:
    while True:
        try:
            return av.open(str(path), metadata_errors="replace")
        except InterruptedError:  # by a signal: FFmpeg does not try again, as Python does
            continue


def demuxed(medium: Medium, stream: Any, faults: Faults) -> Iterator[Any]:
    """Yield the packets of a stream as far as the file can be read; what is wrong with it is added to `faults`."""
    av = load_av()
    packets = medium.container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            faults.add(f"it cannot be read to its end: {reason_of(error)}")
            return
        if packet is None:
            return
        yield packet


class Streams(NamedTuple):
    """What a file holds."""

    has_video: bool
    has_audio: bool
    start: Fraction
    """Seconds, the time in the file of its first picture or sound: all times are counted from there."""
    pixel: float
    """Width of a pixel over its height as it is to be seen, before pictures are turned."""
    duration: float | None
    """Seconds, as the file's header says."""


def look_at(path: Path) -> Streams:
    """Return what a file holds; its first picture and sound are decoded. Raises as `open_medium` does."""
    av = load_av()
    with open_medium(path) as medium:
        lacking = [stream for stream in (medium.video, medium.audio) if stream is not None]
        pixel = float(medium.video.sample_aspect_ratio or 1) if medium.video else 1.0
        starts: list[Fraction] = []
        packets = medium.container.demux(lacking)
        for _ in range(_LOOKED_AT):
            try:
                packet = next(packets, None)
                if packet is None or not lacking:
                    break
                frames = packet.decode() if packet.stream in lacking else []
            except av.error.FFmpegError:  # it is told when it is extracted
                continue
            if frames:
                stamps = [each.pts for each in frames if each.pts is not None]
                starts += [min(stamps) * packet.stream.time_base] if stamps else []
                lacking.remove(packet.stream)
        return Streams(
            medium.video is not None, medium.audio is not None, min(starts, default=Fraction(0)), pixel, medium.duration
        )


def reason_of(error: BaseException) -> str:
    """Return what FFmpeg says, without the file's name and the error's number."""
    return str(getattr(error, "strerror", "") or error)[:SETTLED]
