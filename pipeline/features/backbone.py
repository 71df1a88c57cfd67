"""What a backbone is: a file, and everything that its input and its output need. As JSON, it is a feature's recipe."""

import json
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pipeline.config import ConfigError, from_dict
from pipeline.config.checked import CheckedFields
from pipeline.config.ranges import Key, Matching, Several, Within

_Hash = Annotated[str, Matching(r"(?:[0-9a-f]{64})?", "a SHA-256 in 64 hexadecimal digits, or empty")]
_Side = Annotated[int, Within(0, 4096, unit="pixels")]
_Value = Annotated[float, Within(-1e9, 1e9)]
_Three = Annotated[tuple[_Value, ...], Several(least=1)]
_Span = Annotated[float, Within(least=0, most=60, unit="seconds")]
FPS = Annotated[float, Within(above=0, most=120, unit="frames a second")]
_ENDING = ".json"


@dataclass(frozen=True)
class Backbone(CheckedFields, section="backbone"):
    """A network that makes features of pictures or of sound, and how it is used.

    A picture is resized, cropped in its middle, multiplied by `scale`, and made (x - mean) / deviation. Sound is mixed
    to one channel of `rate` samples a second between -1 and 1, cut into windows, and multiplied by `scale`.
    """

    name: Key
    """Name of the backbone, for messages."""
    file: str
    """Name of its file, or keras:NAME for a network of Keras Applications."""
    task: Literal["frames", "audio"] = "frames"
    """What it sees or hears."""
    sha256: _Hash = ""
    """Checksum of its file."""
    output: str = ""
    """Name of the tensor that is the feature, also one inside of the network; by default its first output."""
    pooling: Literal["none", "mean", "first"] = "none"
    """What becomes of several positions or tokens: their mean, or the first; none flattens them."""
    pca: str = ""
    """Name of an .npz file with mean [F] and matrix [F,D], beside the backbone's: the feature is (x - mean) matrix."""
    pca_sha256: _Hash = ""
    """Checksum of that."""
    scale: _Value = 1.0
    """Factor of the values of pixels, 0 to 255, or of samples, -1 to 1."""
    mean: _Three = (0.0,)
    """Mean of each channel, after `scale`, in the order of `channels`."""
    deviation: _Three = (1.0,)
    """Standard deviation of each channel."""
    height: _Side = 224
    width: _Side = 224
    """Pixels that the network sees."""
    resize: _Side = 0
    """Pixels to which a picture is resized before it is cropped; 0: to those that the network sees."""
    fit: Literal["stretch", "shortest"] = "shortest"
    """Whether height and width are resized, or the shorter one of them and the other in proportion."""
    interpolation: Literal["bilinear", "bicubic", "lanczos"] = "bicubic"
    """How a picture is resized, as Pillow does."""
    channels: Literal["rgb", "bgr"] = "rgb"
    layout: Literal["nchw", "nhwc"] = "nchw"
    """Order of the dimensions of its input and, with pooling, of its output."""
    rate: Annotated[int, Within(100, 384_000, unit="samples a second")] = 16_000
    window: _Span = 0.96
    """Seconds of a window of sound."""
    hop: _Span = 0.0
    """Seconds between windows, whose features are averaged over each frame's time; 0: one window for each frame."""
    front: Literal["waveform", "log_mel"] = "waveform"
    """What of a window the network gets: samples [1,S], or VGGish's log mel spectrogram [1,96,64]."""

    def check_together(self) -> None:
        for name in ("scale", "window", "hop"):  # 1 and 1.0 are written alike
            object.__setattr__(self, name, float(getattr(self, name)))
        for name in ("mean", "deviation"):
            if len(getattr(self, name)) not in (1, 3):
                raise ConfigError(f"{self.flag(name)} must be 1 or 3 numbers, not {len(getattr(self, name))}")
        if not all(self.deviation):
            raise ConfigError(f"{self.flag('deviation')} must not be 0: values are divided by it")
        if self.task == "audio" and not self.window:
            raise ConfigError(f"{self.flag('window')} must be more than 0 seconds")
        if self.resize and self.resize < max(self.height, self.width):
            raise ConfigError(
                f"{self.flag('resize')}, {self.resize}, must not be less than the {self.height} by {self.width} pixels "
                "that are cropped from it"
            )

    @property
    def samples(self) -> int:
        """Samples of a window."""
        return round(self.window * self.rate)


class Recipe(NamedTuple):
    """How a feature is made of a file."""

    backbone: Backbone
    fps: Fraction
    """Frames a second."""

    def text(self) -> str:
        """Return it as JSON on one line, without what is as by default; see `FeatureConfig.made_by`."""
        own = {field.name: getattr(self.backbone, field.name) for field in fields(Backbone)}
        given = {field.name: own[field.name] for field in fields(Backbone) if own[field.name] != field.default}
        return json.dumps({name: _written(value) for name, value in given.items()} | {"fps": float(self.fps)})

    @classmethod
    def of_text(cls, text: str) -> "Recipe":
        """Return what `text` gave. Raises ConfigError if it is no recipe, or one of a newer version."""
        try:
            values = json.loads(text)
            fps = Fraction(values.pop("fps")).limit_denominator(10_000)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ConfigError(f"made_by is no recipe of this version's extract: {text[:200]}") from error
        return cls(from_dict(Backbone, values, "made_by"), fps)


def _written(value: Any) -> Any:
    """Return a value as it is always written: 104 and 104.0 are one mean."""
    return [float(each) for each in value] if isinstance(value, tuple) else value


def described_beside(file: Path, options: dict[str, Any]) -> Backbone:
    """Return the backbone in a file of one's own, as the JSON file of its name beside it says, and `options` over it.

    Raises ConfigError: the JSON is damaged, or names a field that a backbone has not, or a value that it may not have.
    """
    beside = file.with_suffix(_ENDING)
    values: Any = {}
    if beside.exists():
        try:
            values = json.loads(beside.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(f"{beside} is not valid JSON: {error}") from error
        if not isinstance(values, dict):
            raise ConfigError(f"{beside} must hold a JSON object with the fields of a backbone")
    whole = {"name": file.stem, **values, **options, "file": file.name}
    return from_dict(Backbone, whole, beside if beside.exists() else file)


def with_options(backbone: Backbone, options: dict[str, Any]) -> Backbone:
    """Return a backbone with other values of some fields. Raises ConfigError for a field or a value that is none."""
    names = [field.name for field in fields(Backbone)]
    for name in options:
        if name not in names:
            raise ConfigError(f"a backbone has no field {name}; its fields are {', '.join(names)}")
    return replace(
        backbone, **{name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    )
