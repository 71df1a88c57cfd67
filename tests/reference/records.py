"""Records made with protobuf, and how TensorFlow's own parsers read any record."""

import numpy as np
import tensorflow as tf

from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.inputs.records.parsing import parse_features, parse_record

FRAME = DatasetConfig("frame", (FeatureConfig("rgb", 24), FeatureConfig("audio", 8)), 3862, max_frames=40)
VIDEO = DatasetConfig(
    "video", (FeatureConfig("mean_rgb", 24, "float32"), FeatureConfig("mean_audio", 8, "float32")), 3862, level="video"
)


AUDIOSET = DatasetConfig("audioset", (FeatureConfig("audio_embedding", 128),), 527)
VIDEO_FEATURES = (FeatureConfig("mean_rgb", 1024, "float32"), FeatureConfig("mean_audio", 128, "float32"))
REAL = {
    "audioset/train": (22_160, AUDIOSET),
    "audioset/eval": (10_190, AUDIOSET),
    "youtube8m-2018-video": (23_091, DatasetConfig("2018", VIDEO_FEATURES, 3862, level="video")),
    "youtube8m-2017-video": (None, DatasetConfig("2017", VIDEO_FEATURES, 4716, level="video")),
}
"""Folders of real data: how many records there are, and what they hold."""
UNKNOWN = b"\xa2\x06\x03abc" + b"\xa8\x06\xff\xff\x01" + b"\xad\x06abcd" + b"\xb1\x06abcdefgh"
"""Fields of number 100, one of each wire type."""


def in_bytes(*values: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def in_floats(*values: float) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def in_integers(*values: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def frames(count: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size), np.uint8)


def sequence(context: dict, lists: dict) -> bytes:
    record = tf.train.SequenceExample()
    for key, feature in context.items():
        record.context.feature[key].CopyFrom(feature)
    for key, rows in lists.items():
        record.feature_lists.feature_list[key].feature.extend(rows)
    return record.SerializeToString(deterministic=True)


def frame_record(count: int = 5, context: dict | None = None, **lists: list) -> bytes:
    defaults = {"id": in_bytes(b"aDoE"), "labels": in_integers(3, 0, 3861)}
    rows = {"rgb": [in_bytes(row.tobytes()) for row in frames(count, 24)]}
    rows["audio"] = [in_bytes(row.tobytes()) for row in frames(count, 8, 1)]
    return sequence(defaults if context is None else context, rows | lists)


def example(**features: tf.train.Feature) -> bytes:
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def video_record(**features: tf.train.Feature) -> bytes:
    values = np.linspace(-2, 2, 32, dtype=np.float32)
    defaults = {"id": in_bytes(b"aDoE"), "labels": in_integers(7)}
    return example(**defaults | {"mean_rgb": in_floats(*values[:24]), "mean_audio": in_floats(*values[24:])} | features)


def by_tensorflow(payload: bytes, dataset: DatasetConfig) -> dict:
    """One record as TensorFlow's parser gives it; raises tf.errors.InvalidArgumentError."""
    context = {key: tf.io.VarLenFeature(tf.string) for key in dataset.id_keys}
    context["labels"] = tf.io.VarLenFeature(tf.int64)
    if dataset.level == "video":
        context |= {f.key: tf.io.FixedLenFeature([f.size], tf.float32) for f in dataset.features}
        found = tf.io.parse_single_example(payload, context)
        features = [found[f.key].numpy()[None] for f in dataset.features]
    else:
        lists = {f.key: tf.io.FixedLenSequenceFeature([], tf.string) for f in dataset.features}
        found, rows = tf.io.parse_single_sequence_example(payload, context, lists)
        features = []
        for f in dataset.features:
            values = [np.frombuffer(row, np.uint8) for row in rows[f.key].numpy()]
            features.append(np.stack(values) if values else np.zeros((0, f.size), np.uint8))
    ids = next((found[key].values.numpy() for key in dataset.id_keys if len(found[key].values)), [])
    return {"ids": [id.decode() for id in ids], "labels": found["labels"].values.numpy(), "features": features}


def by_protobuf(payload: bytes, dataset: DatasetConfig) -> dict:
    """The same by the protobuf library, which accepts what TensorFlow's stricter parser does not."""
    if dataset.level == "video":
        record = tf.train.Example.FromString(payload)
        context = record.features.feature
        features = [np.array([context[f.key].float_list.value], np.float32) for f in dataset.features]
    else:
        record = tf.train.SequenceExample.FromString(payload)
        context, lists = record.context.feature, record.feature_lists.feature_list
        rows = [[row.bytes_list.value for row in lists[f.key].feature] for f in dataset.features]
        features = [np.array([np.frombuffer(value, np.uint8) for (value,) in values]) for values in rows]
    ids = next((context[key].bytes_list.value for key in dataset.id_keys if key in context), [])
    labels = np.array(context["labels"].int64_list.value, np.int64)
    return {"ids": [id.decode() for id in ids], "labels": labels, "features": features}


def assert_agrees(payload: bytes, dataset: DatasetConfig, reference=by_tensorflow) -> None:
    expected, parsed = reference(payload, dataset), parse_record(memoryview(payload), dataset)
    assert [parsed.id] == expected["ids"]
    assert parsed.labels.dtype == np.int32
    assert parsed.labels.tolist() == list(dict.fromkeys(expected["labels"].tolist()))
    assert parsed.num_frames == len(expected["features"][0])
    for ours, theirs, alone, declared in zip(
        parsed.features, expected["features"], parse_features(payload, dataset), dataset.features
    ):
        assert ours.dtype == declared.dtype and ours.shape == (parsed.num_frames, declared.size)
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(ours, alone)


def field(tag: int, value: bytes) -> bytes:
    """One field of up to 16383 bytes, its length in a varint that is one byte longer than it need be."""
    return bytes([tag, len(value) & 127 | 128, len(value) >> 7 | 128, 0]) + value


def rows(size: int, numbers: range, between: bytes = b"") -> bytes:
    return b"".join(between + field(0x0A, field(0x0A, field(0x0A, bytes([number]) * size))) for number in numbers)
