"""Small pictures of a video for pages: JPEG files, spread evenly over its length."""

import io
from fractions import Fraction
from pathlib import Path

from pipeline.features.media import Faults, UnreadableMedia, look_at
from pipeline.features.video import frames_at, is_turned, rgb_of

_MOST, _HEIGHT, _QUALITY = 24, 240, 70
"""Pictures of a video; pixels; and the quality of JPEG."""


def thumbnails(path: Path) -> list[tuple[float, bytes]]:
    """Return pictures of a video, each a time in seconds from its start and a JPEG file, 240 pixels high.

    There are at most 24, and one a second of a short video; none of a file without pictures, or that cannot be read.
    """
    from PIL import Image

    found: list[tuple[float, bytes]] = []
    try:
        streams = look_at(path)
        if not streams.has_video:
            return found
        step = max(Fraction(streams.duration or 0).limit_denominator(1000) / _MOST, Fraction(1))
        for numbers, frame in frames_at(path, streams.start + step / 2, 1 / step, 1, Faults()):
            picture = rgb_of(frame)
            pixel = 1 / streams.pixel if is_turned(frame) else streams.pixel
            width = max(1, round(_HEIGHT * pixel * picture.shape[1] / picture.shape[0]))
            file = io.BytesIO()
            Image.fromarray(picture).resize((width, _HEIGHT)).save(file, "JPEG", quality=_QUALITY)
            found += [(float(step * number + step / 2), file.getvalue()) for number in numbers]
    except (UnreadableMedia, OSError):
        pass  # whoever extracts its features tells
    return found[:_MOST]
