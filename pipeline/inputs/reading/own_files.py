"""Read videos from the user's own TFRecord, NumPy or HDF5 files, which no index knows; report the faulty ones."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from pipeline.artifacts.npz import open_npz
from pipeline.config import DatasetConfig, SamplingConfig
from pipeline.config.wording import counted
from pipeline.inputs.reading.batches import Inputs
from pipeline.inputs.reading.sampling import choose_for_all, sampled_length
from pipeline.inputs.records import tfrecord
from pipeline.inputs.records.file_kinds import TFRECORDS, kind_of_file
from pipeline.inputs.records.parsing import ParseError, parse_features, readable_id

_READ = "TFRecords, npz, npy or HDF5"
_MOST_INFLATED = 1100
"""Times that the bytes of an HDF5 file become more, at most: deflate makes 1,032 of one."""
_DEQUANTIZE = "give the values as they were before they were quantized"


class Video(NamedTuple):
    """A video with its frames."""

    id: str
    """The video's own id, or else the file's name and the video's number from 0."""
    frames: np.ndarray
    """The dataset's dtype [n,F]; n is at least 1."""


class UnreadableVideo(NamedTuple):
    """Where and why a video, or a whole file, cannot be read."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


def read_videos(path: Path, dataset: DatasetConfig) -> Iterator[Video | UnreadableVideo]:
    """Yield every video of a file; for a video that is faulty yield an UnreadableVideo, and go on with the next.

    What a file is read as is told by its first bytes, whatever its name:

    npz, HDF5   either one video, as an array [n,size] for each feature by its name; its id is the file's name;
                or N videos, as `frames` [N,T,F] with the features side by side in the dataset's order, `num_frames`
                [N], and optionally `ids` [N]
    npy         one video, as an array [n,F] with the features side by side
    TFRecords   as the dataset declares them; labels and ids are optional
    """
    where = str(path)
    if not path.exists():
        yield UnreadableVideo(where, "there is no such file")
        return
    try:
        kind = kind_of_file(path)
        if kind == TFRECORDS:
            yield from _in_records(path, dataset)
        elif kind is None:
            yield UnreadableVideo(where, f"the first bytes are not those of {_READ}: it is of another kind, or damaged")
        elif kind.format == "npy":
            yield _in_npy(path, np.load(path, mmap_mode="r", allow_pickle=False), dataset)
        elif kind.format == "npz":
            with open_npz(path) as arrays:
                yield from _in_arrays(path, arrays, dataset)
        elif kind.format == "hdf5":
            yield from _in_hdf5(path, dataset)
        else:
            yield UnreadableVideo(where, kind.is_not(_READ, "write the features that it holds as one of these"))
    except (OSError, ValueError, KeyError, RuntimeError, MemoryError) as error:
        yield UnreadableVideo(where, f"the file cannot be read: {error}")


def sample_video(frames: np.ndarray, samplings: Sequence[SamplingConfig], dataset: DatasetConfig) -> np.ndarray:
    """Return the rows of a video [n,F] that are read for these samplings, [t,F]: the same as through an index."""
    (chosen,), (count,) = choose_for_all(samplings, np.array([len(frames)]), dataset)
    return frames[chosen[:count]]


def batch_videos(
    videos: list[np.ndarray], dataset: DatasetConfig, samplings: Sequence[SamplingConfig], batch_size: int
) -> Iterator[tuple[int, Inputs]]:
    """Yield what `sample_video` returned in batches like those of `batches_for_all`; the last one may be smaller."""
    length = sum(sampled_length(each.evaluation, each, dataset) for each in samplings)
    for start in range(0, len(videos), batch_size):
        chosen = videos[start : start + batch_size]
        frames = np.zeros((len(chosen), length, dataset.width), dataset.dtype)  # B,T,F
        for row, video in zip(frames, chosen):
            row[: len(video)] = video
        yield len(chosen), {"frames": frames, "num_frames": np.array([len(video) for video in chosen], np.int32)}


# ------------------------------------------------------------------------------------------------------------ TFRecords


def _in_records(path: Path, dataset: DatasetConfig) -> Iterator[Video | UnreadableVideo]:
    for number, record in enumerate(tfrecord.scan_records(path)):
        where = f"{path}, record {number} at byte {record.offset}"
        if record.fault is not None:
            yield UnreadableVideo(where, f"{record.fault}; copy the file again")
            continue
        try:
            features = parse_features(record.payload, dataset)
            frames = np.concatenate(features, axis=1)
        except ParseError as error:
            yield UnreadableVideo(where, f"{error}; {_remedy(str(error), dataset)}")
            continue
        if not np.isfinite(frames).all():
            yield UnreadableVideo(where, "there are values that are not finite; extract the features again")
            continue
        yield Video(readable_id(record.payload, dataset) or f"{path.name}:{number}", frames)


def _remedy(reason: str, dataset: DatasetConfig) -> str:
    if dataset.quantized and "float_list" in reason:
        return _quantize(dataset)
    if dataset.dtype == "float32" and "bytes_list" in reason:
        return _DEQUANTIZE
    features = ", ".join(f"{feature.key}, {feature.size} {feature.dtype}" for feature in dataset.features)
    return f"the model needs, for each {dataset.level}: {features}"


def _quantize(dataset: DatasetConfig) -> str:
    """Return the remedy for floats where bytes are needed."""
    calls = ", ".join(
        f"{feature.name} by quantize(v, {feature.minimum:g}, {feature.maximum:g})" for feature in dataset.features
    )
    return f"quantize them as the training features were, with pipeline.inputs.records.quantized: {calls}"


# --------------------------------------------------------------------------------------------------------------- arrays


def _in_npy(path: Path, values: np.ndarray, dataset: DatasetConfig) -> Video | UnreadableVideo:
    values = np.atleast_2d(values)
    if values.ndim == 2 and values.shape[1] == dataset.width and len(values):
        return _video(path.stem, str(path), [values], dataset)
    features = ", ".join(f"{feature.name} ({counted(feature.size, 'value')})" for feature in dataset.features)
    return UnreadableVideo(
        str(path),
        f"the array is {list(values.shape)}; it must be one video, [frames, {dataset.width}], with {features} side by "
        "side; several videos go into an .npz",
    )


def _in_hdf5(path: Path, dataset: DatasetConfig) -> Iterator[Video | UnreadableVideo]:
    import h5py

    with h5py.File(path) as file:
        yield from _in_arrays(path, _OfHdf5(file), dataset)


class _Arrays(Protocol):
    """The arrays of a file by name; each is read only when it is needed."""

    @property
    def names(self) -> Sequence[str]: ...

    def dimensions(self, name: str) -> int: ...

    def read(self, name: str) -> np.ndarray: ...


class _OfHdf5:
    """The datasets at the root of an HDF5 file."""

    def __init__(self, file: Any):
        import h5py  # Keras needs it too

        self._held = {name: held for name, held in file.items() if isinstance(held, h5py.Dataset)}
        self._is_text = h5py.check_string_dtype

    @property
    def names(self) -> list[str]:
        return list(self._held)

    def dimensions(self, name: str) -> int:
        return self._held[name].ndim

    def read(self, name: str) -> np.ndarray:
        held = self._held[name]
        stored = held.id.get_storage_size()
        if held.nbytes > _MOST_INFLATED * stored + 1024:
            raise ValueError(f"{name} is to have {held.nbytes:,} bytes, and {stored:,} are stored")
        return np.asarray((held.asstr() if self._is_text(held.dtype) else held)[()])


def _in_arrays(path: Path, arrays: _Arrays, dataset: DatasetConfig) -> Iterator[Video | UnreadableVideo]:
    sizes = {feature.name: feature.size for feature in dataset.features}
    # A feature may be named num_frames, or frames; the frames of several videos have three dimensions.
    several = "frames" in arrays.names and arrays.dimensions("frames") == 3
    if "num_frames" in arrays.names and (several or "num_frames" not in sizes):
        named = (name for name in ("frames", "num_frames", "ids") if name in arrays.names)
        yield from _in_batch(path, {name: arrays.read(name) for name in named}, dataset)
        return
    if missing := sizes.keys() - set(arrays.names):
        yield UnreadableVideo(
            str(path),
            f"there is no array {min(missing)}; give one of [frames, values] for each of {', '.join(sizes)}, or "
            f"frames [videos, frames, {dataset.width}] and num_frames [videos]; "
            f"the file has {', '.join(arrays.names[:20]) or 'none'}",
        )
        return
    features = [np.atleast_2d(arrays.read(name)) for name in sizes]
    for values, (name, size) in zip(features, sizes.items()):
        if values.ndim != 2 or values.shape[1] != size or len(values) != len(features[0]) or not len(values):
            shapes = ", ".join(f"{name} {list(values.shape)}" for name, values in zip(sizes, features))
            yield UnreadableVideo(
                str(path), f"{shapes}; each must be [frames, values], with {counted(size, 'value')} in {name}"
            )
            return
    yield _video(path.stem, str(path), features, dataset)


def _in_batch(path: Path, arrays: dict[str, np.ndarray], dataset: DatasetConfig) -> Iterator[Video | UnreadableVideo]:
    frames, counts = arrays.get("frames", np.zeros(0)), arrays["num_frames"]
    ids = arrays.get("ids", np.zeros(counts.shape))
    if frames.ndim != 3 or frames.shape[2] != dataset.width or not counts.shape == ids.shape == frames.shape[:1]:
        yield UnreadableVideo(
            str(path),
            f"frames {list(frames.shape)}, num_frames {list(counts.shape)}, ids {list(ids.shape)}; they must be "
            f"[videos, frames, {dataset.width}] and [videos]",
        )
        return
    for number, (rows, count, id) in enumerate(zip(frames, counts.tolist(), ids.tolist())):
        where = f"{path}, video {number}"
        id = id if "ids" in arrays else f"{path.name}:{number}"
        if not (isinstance(count, int) and 1 <= count <= len(rows)):
            yield UnreadableVideo(where, f"num_frames is {count}; it must be from 1 to {len(rows)}")
        elif not (isinstance(id, str) and id.isprintable()):
            yield UnreadableVideo(where, f"its id {id!r} is no printable text; leave ids out, or make them strings")
        else:
            yield _video(id, where, [rows[:count]], dataset)


def _video(id: str, where: str, features: list[np.ndarray], dataset: DatasetConfig) -> Video | UnreadableVideo:
    """Return a video from arrays [n,size], or a UnreadableVideo if their values are not as the dataset declares."""
    for values in features:
        if dataset.quantized:
            if values.dtype.kind == "f":
                return UnreadableVideo(where, f"values are {values.dtype} but must be bytes: {_quantize(dataset)}")
            if values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 255:
                return UnreadableVideo(
                    where, f"values are {values.dtype} and not all from 0 to 255; they must be bytes"
                )
        elif values.dtype.kind != "f":
            return UnreadableVideo(where, f"values are {values.dtype} but must be floats: {_DEQUANTIZE}")
        elif not np.isfinite(values.astype(np.float32)).all():
            return UnreadableVideo(where, "there are values that are not finite; extract the features again")
    with np.errstate(over="ignore"):
        frames = np.concatenate(features, axis=1).astype(dataset.dtype)
    if dataset.dtype == "float16" and not np.isfinite(frames).all():
        return UnreadableVideo(where, f"there are values beyond {np.finfo(np.float16).max:,.0f}, the largest float16")
    return Video(id, frames[:1] if dataset.level == "video" else frames)
