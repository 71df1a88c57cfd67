"""What a field may hold, beyond its type: ranges of numbers, forms of text, numbers of values."""

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Within:
    """Finite numbers between two bounds: `least` and `most` are allowed themselves, `above` and `below` are not."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        if (self.least is None) == (self.above is None) or (self.most is None) == (self.below is None):
            raise TypeError(f"a range has one bound at each end, not {vars(self)}")

    def allows(self, value: float) -> bool:
        low = (self.least is None or value >= self.least) and (self.above is None or value > self.above)
        high = (self.most is None or value <= self.most) and (self.below is None or value < self.below)
        return math.isfinite(value) and low and high

    def __str__(self) -> str:
        if self.above is None and self.below is None:
            return f"from {self.least:,} to {self.most:,} {self.unit}".rstrip()
        low = f"at least {self.least:,}" if self.above is None else f"more than {self.above:,}"
        high = f"at most {self.most:,}" if self.below is None else f"less than {self.below:,}"
        return f"{low} and {high} {self.unit}".rstrip()


@dataclass(frozen=True)
class Matching:
    """Text that matches a regular expression as a whole; `what` describes it in words, for error messages."""

    pattern: str
    what: str
    most_bytes: int = 4000

    def allows(self, value: str) -> bool:
        size = len(value.encode(errors="surrogatepass"))
        return re.fullmatch(self.pattern, value) is not None and size <= self.most_bytes

    def __str__(self) -> str:
        return self.what


@dataclass(frozen=True)
class Several:
    """Tuples of at least `least` values; with `distinct`, no two of them may be equal."""

    least: int = 0
    distinct: bool = False

    def allows(self, value: tuple[Any, ...]) -> bool:
        return len(value) >= self.least and not (self.distinct and len(set(value)) < len(value))

    def __str__(self) -> str:
        return f"a tuple of {self.least} or more {'different ' * self.distinct}values"


LARGEST_SIZE = 1 << 20
"""Largest size of a layer: a float32 matrix of this by this takes 4 TB."""
MOST_CLASSES = 100_000
"""Largest number of classes."""

MOST_FOLDS = 50
"""Largest number of folds, each of which is a training."""

Size = Annotated[int, Within(1, LARGEST_SIZE)]
"""Size of a layer."""
Sizes = tuple[Size, ...]
"""Sizes of layers: one value for each feature, or one for all of them; none stands for the defaults."""
MOST_FRAMES = 1 << 20
Frames = Annotated[int, Within(1, MOST_FRAMES, unit="frames")]
"""Number of frames; the largest is twelve days at one frame a second."""
Videos = Annotated[int, Within(1, 1 << 20, unit="videos")]
"""Number of videos in one pass through the device."""
TopK = Annotated[int, Within(1, MOST_CLASSES, unit="labels")]
Share = Annotated[float, Within(least=0, below=1)]
"""Share that is dropped or smoothed away. It is below 1: of nothing, nothing can be learned."""
Scale = Annotated[float, Within(0, 1_000_000)]
"""Factor of a term that is added to the loss."""
Workers = Annotated[int, Within(1, 4096)]
"""Number of processes or threads at a time."""
Processors = Annotated[int, Within(1, 4096, unit="processors")]
GPUs = Annotated[float, Within(0, 64, unit="GPUs")]
EngineName = Annotated[str, Matching(r"processes|ray|ray://[^\s/:]+:\d{1,5}", "processes, ray or ray://HOST:PORT")]
"""What runs the tasks of a stage."""
PartName = Annotated[str, Matching(r"[1-9]\d{0,4}/[1-9]\d{0,4}", "a part and their number, such as 3/8")]
Devices = Annotated[str, Matching(r"all|[1-9][0-9]{0,3}", "all, or a number from 1 to 9999")]
"""Number of accelerators of a machine."""
Address = Annotated[str, Matching(r"\S+:[0-9]{1,5}", "an address and a port, such as node1:9000")]
Seconds = Annotated[float, Within(0, 1_000_000, unit="seconds")]
Span = Annotated[float, Within(above=0, most=1_000_000, unit="seconds")]
FramesPerSecond = Annotated[float, Within(above=0, most=1000, unit="frames a second")]
Count = Annotated[int, Within(0, 1 << 40)]
OutlierRatio = Annotated[float, Within(0, 1e30, unit="times the median video's largest value")]
Seed = Annotated[int, Within(0, (1 << 32) - 1)]
"""Random seed; NumPy and Keras take 32 bits."""
_NAME = r"(?![.\-~\s])[^/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,200}(?<!\s)"
_PLAIN = (
    "a plain name of at most 200 bytes, without / and \\ and control characters, not beginning with . - ~ or a space"
)
# File systems take 255 bytes, and what is written beside a file adds to its name.
FolderName = Annotated[str, Matching(_NAME, _PLAIN, most_bytes=200)]
"""Name of a dataset, a split, a preset: it never leads out of the folder that it is put in."""
RunName = Annotated[str, Matching(rf"(?!ensemble\Z){_NAME}", f"{_PLAIN}, and not ensemble, the blend of all", 200)]
Key = Annotated[str, Matching(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,1000}", "a key of a record: printable, not empty")]
