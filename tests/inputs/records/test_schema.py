"""The first look at a split: all that differs is listed, with what to change."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.inputs.records import tfrecord
from pipeline.inputs.records.parsing import ParseError
from pipeline.inputs.records.schema import FoundFeature, SchemaError, check_first_record, describe_record

FRAME = DatasetConfig("youtube8m", (FeatureConfig("rgb", 1024), FeatureConfig("audio", 128)), 3862)
VIDEO = DatasetConfig(
    "video",
    (FeatureConfig("mean_rgb", 1024, "float32"), FeatureConfig("mean_audio", 128, "float32")),
    3862,
    level="video",
)


def in_bytes(*values: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def in_floats(count: int) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=[0.5] * count))


def in_integers(*values: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


CONTEXT = {"id": in_bytes(b"aDoE"), "labels": in_integers(0, 300, 3861)}


def sequence(context: dict, **lists: list) -> bytes:
    record = tf.train.SequenceExample(context=tf.train.Features(feature=context))
    for key, rows in lists.items():
        record.feature_lists.feature_list[key].feature.extend(rows)
    return record.SerializeToString()


def example(**features: tf.train.Feature) -> bytes:
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def frames(count: int, size: int) -> list:
    return [in_bytes(bytes(size))] * count


def faults(payload: bytes, dataset: DatasetConfig) -> list[str]:
    with pytest.raises(SchemaError) as caught:
        check_first_record(payload, dataset, "train: a.tfrecord")
    message = str(caught.value)
    assert message.startswith(f"train: a.tfrecord: not what dataset {dataset.name} declares:\n")
    return [line.removeprefix("  * ") for line in message.splitlines() if line.startswith("  * ")]


def first_payload(path) -> memoryview:
    return next(tfrecord.scan_records(path)).payload


def test_describe_names_everything():
    payload = sequence(
        CONTEXT | {"none": tf.train.Feature(), "strings": in_bytes(b"a", b"bc")},
        rgb=frames(3, 1024),
        ragged=[in_floats(2), in_floats(5), in_floats(2)],
        mixed=[in_floats(2), in_bytes(b"abc")],
        empty=[],
    )
    assert describe_record(payload) == [
        FoundFeature("id", "video", "bytes", 1, (4,)),
        FoundFeature("labels", "video", "int64", 1, (3,)),
        FoundFeature("none", "video", "empty", 1, (0,)),
        FoundFeature("strings", "video", "strings", 1, (2,)),
        FoundFeature("empty", "frame", "empty", 0, ()),
        FoundFeature("mixed", "frame", "mixed", 2, (2, 3)),
        FoundFeature("ragged", "frame", "float", 3, (2, 5)),
        FoundFeature("rgb", "frame", "bytes", 3, (1024,)),
    ]
    assert str(describe_record(payload)[-2]) == "ragged: 3 frames of 2 or 5 float"
    with pytest.raises(ParseError):
        describe_record(b"no record")


def test_what_is_declared_passes():
    assert check_first_record(sequence(CONTEXT, rgb=frames(3, 1024), audio=frames(3, 128)), FRAME, "a") is None
    assert (
        check_first_record(
            sequence({"video_id": in_bytes(b"a")}, rgb=frames(3, 1024), audio=frames(3, 128), more=[]), FRAME, "a"
        )
        is None
    )
    assert (
        check_first_record(example(id=in_bytes(b"a"), mean_rgb=in_floats(1024), mean_audio=in_floats(128)), VIDEO, "a")
        is None
    )


def test_a_fault_of_one_record_is_no_difference():
    uneven = [*frames(2, 1024), *frames(1, 1000)]
    assert (
        check_first_record(sequence(CONTEXT | {"id": in_bytes(b"a,b")}, rgb=uneven, audio=frames(5, 128)), FRAME, "a")
        is None
    )
    assert check_first_record(sequence(CONTEXT, rgb=[], audio=[]), FRAME, "a") is None


def test_everything_that_differs_is_listed_at_once():
    payload = sequence(
        {"name": in_bytes(b"a"), "labels": in_integers(4000)}, rgb=[in_floats(1024)], sound=frames(1, 128)
    )
    assert faults(payload, FRAME) == [
        "feature rgb is float where uint8 is declared: set --dataset.features.0.dtype float32",
        "feature audio is missing; set --dataset.features.1.source to its key, perhaps sound (128 bytes)",
        "no id under the keys id, video_id: set --dataset.id-keys, perhaps to name",
        "label 4000 is outside 0..3861: set --dataset.num-classes or --dataset.labels-key",
    ]


@pytest.mark.parametrize(
    ("payload", "dataset", "expected"),
    [
        (
            sequence(CONTEXT, rgb=frames(2, 1000), audio=frames(2, 128)),
            FRAME,
            "feature rgb has 1000 values a row where 1024 are declared: set --dataset.features.0.size 1000",
        ),
        (
            sequence(CONTEXT, rgb=[*frames(2, 9), *frames(1, 7)], audio=frames(2, 128)),
            FRAME,
            "feature rgb has 7 or 9 values a row where 1024 are declared: rows that differ in size cannot be read",
        ),
        (
            sequence(CONTEXT, rgb=frames(2, 1024)),
            FRAME,
            "feature audio is missing: write zeros where a video has none, or do not declare it",
        ),
        (
            sequence(CONTEXT | {"id": in_integers(7)}, rgb=frames(2, 1024), audio=frames(2, 128)),
            FRAME,
            "id is int64 where the bytes of an id are declared: set --dataset.id-keys",
        ),
        (
            sequence(CONTEXT | {"labels": in_floats(2)}, rgb=frames(2, 1024), audio=frames(2, 128)),
            FRAME,
            "labels is a float_list where integers are declared: write the indices of the classes as an int64_list, "
            "or set --dataset.labels-key",
        ),
        (
            sequence(CONTEXT | {"labels": in_integers(3862)}, rgb=frames(2, 1024), audio=frames(2, 128)),
            FRAME,
            "label 3862 is outside 0..3861, classes count from 0: set --dataset.num-classes or --dataset.labels-key",
        ),
        (
            sequence(CONTEXT | {"labels": in_integers(*[0, 1] * 6)}, rgb=frames(2, 1024), audio=frames(2, 128)),
            FRAME,
            "labels holds 12 values of 0 and 1, a multi-hot vector: write the indices of the classes, "
            "or set --dataset.labels-key",
        ),
        (
            sequence(CONTEXT, rgb=[in_integers(*[3] * 1024)], audio=frames(1, 128)),
            FRAME,
            "feature rgb is int64, which cannot be read as uint8",
        ),
        (
            example(**CONTEXT, mean_rgb=in_bytes(bytes(1024)), mean_audio=in_floats(128)),
            VIDEO,
            "feature mean_rgb is bytes where float32 is declared: set --dataset.features.0.dtype uint8",
        ),
    ],
)
def test_a_difference_names_its_remedy(payload, dataset, expected):
    assert faults(payload, dataset) == [expected]


RAW = DatasetConfig("raw", (FeatureConfig("rgb", 16), FeatureConfig("audio", 8)), 3862)
NORMAL = np.random.default_rng(0).normal(size=(12, 24))
QUANTIZED = np.random.default_rng(0).integers(0, 256, (12, 24), np.uint8)


def in_rows(values: np.ndarray) -> dict[str, list]:
    """Values [n,24] as the two features of RAW, each row the memory of its values."""
    return {
        "rgb": [in_bytes(row[:16].tobytes()) for row in values],
        "audio": [in_bytes(r[16:].tobytes()) for r in values],
    }


def test_what_is_declared_as_bytes_and_is_bytes_passes():
    check_first_record(sequence(CONTEXT, **in_rows(QUANTIZED)), RAW, "a")
    for value in (0, 1, 63, 64, 128, 255):
        check_first_record(sequence(CONTEXT, **in_rows(np.full((12, 24), value, np.uint8))), RAW, "a")


@pytest.mark.parametrize(
    ("dtype", "times", "remedy"),
    [
        ("float32", 4, "write them as a float_list and set --dataset.features.0.dtype float32, or quantize them"),
        ("float64", 8, "write them as a float_list and set --dataset.features.0.dtype float32, or quantize them"),
        ("float16", 2, "set --dataset.features.0.dtype float16"),
        ("int32", 4, "write each as one byte"),
        ("int64", 8, "write each as one byte"),
        ("int16", 2, "write each as one byte"),
    ],
)
def test_wide_numbers_stored_as_bytes_are_named(dtype, times, remedy):
    values = (NORMAL if dtype.startswith("float") else QUANTIZED).astype(dtype)
    rgb, _ = faults(sequence(CONTEXT, **in_rows(values)), RAW)
    stored = f"{dtype} values stored as bytes; {remedy}"
    assert rgb == f"feature rgb has {16 * times} bytes a row, {times} times the 16 declared: {stored}"


def test_floats_stored_as_bytes_are_named_where_their_bytes_are_declared():
    wide = tuple(dataclasses.replace(feature, size=4 * feature.size) for feature in RAW.features)
    rgb, _ = faults(sequence(CONTEXT, **in_rows(NORMAL.astype("f4"))), dataclasses.replace(RAW, features=wide))
    assert rgb == (
        "feature rgb has 64 bytes a row, where 64 are declared: float32 values stored as bytes; write them as a "
        "float_list and set --dataset.features.0.dtype float32 and --dataset.features.0.size 16, or quantize them"
    )


@pytest.mark.parametrize("values", [NORMAL.astype("f4"), np.zeros((12, 24), "f4"), NORMAL[:1].astype("f4")])
def test_floats_stored_as_bytes_are_named_where_floats_are_declared(values):
    floats = tuple(dataclasses.replace(feature, dtype="float32") for feature in RAW.features)
    rgb, _ = faults(sequence(CONTEXT, **in_rows(values)), dataclasses.replace(RAW, features=floats))
    assert rgb == (
        "feature rgb has 64 bytes a row, 4 times the 16 declared: float32 values stored as bytes; write them as a "
        "float_list, or quantize them"
    )


HALVES = dataclasses.replace(RAW, features=tuple(dataclasses.replace(f, dtype="float16") for f in RAW.features))


@pytest.mark.parametrize("values", [NORMAL, NORMAL[:1], np.zeros((12, 24)), np.ones((1, 24)), NORMAL * 1e4])
def test_float16_as_declared_passes(values):
    check_first_record(sequence(CONTEXT, **in_rows(values.astype(np.float16))), HALVES, "a")


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (QUANTIZED, "feature rgb has 16 bytes a row where 32 are declared, 16 float16 values: set {0}.dtype uint8"),
        (
            QUANTIZED.astype("i2"),
            "feature rgb has 32 bytes a row, where 32 are declared, 16 float16 values: int16 values stored as bytes; "
            "write each as one byte and set {0}.dtype uint8",
        ),
        (
            NORMAL.astype("f4"),
            "feature rgb has 64 bytes a row, where 32 are declared, 16 float16 values: float32 values stored as bytes; "
            "write them as a float_list and set {0}.dtype float32, or quantize them",
        ),
        (np.zeros((12, 48), np.uint8)[:, :40], "feature rgb has 16 bytes a row where 32 are declared, 16 float16"),
    ],
)
def test_what_is_no_float16_is_named(values, fault):
    rgb, *_ = faults(sequence(CONTEXT, **in_rows(values)), HALVES)
    assert rgb.startswith(fault.format("--dataset.features.0"))


def test_float16_rows_of_another_size_are_named():
    def of(*sizes: int) -> list[str]:
        rows = [in_bytes(bytes(size)) for size in sizes]
        return faults(sequence(CONTEXT, rgb=rows, audio=[in_bytes(bytes(16))] * len(rows)), HALVES)

    told = "feature rgb has {} bytes a row where 32 are declared, 16 float16 values: {}"
    assert of(24, 24) == [told.format(24, "set --dataset.features.0.size 12")]
    assert of(33) == [told.format(33, "a float16 value has two bytes")]
    assert of(24, 26) == [told.format("24 or 26", "rows that differ in size cannot be read")]
    floats = sequence(CONTEXT, rgb=[in_floats(16)], audio=[in_bytes(bytes(16))])
    assert faults(floats, HALVES) == [
        "feature rgb is float where float16 is declared: set --dataset.features.0.dtype float32"
    ]
    moved = sequence(CONTEXT, image=[in_bytes(bytes(32))], audio=[in_bytes(bytes(16))])
    assert faults(moved, HALVES) == [
        "feature rgb is missing; set --dataset.features.0.source to its key, perhaps image (32 bytes)"
    ]
    floats = tuple(dataclasses.replace(feature, dtype="float32") for feature in RAW.features)
    payload = sequence(CONTEXT, **in_rows(NORMAL.astype(np.float16)))
    assert faults(payload, dataclasses.replace(RAW, features=floats))[0] == (
        "feature rgb has 32 bytes a row, 2 times the 16 declared: float16 values stored as bytes; "
        "set --dataset.features.0.dtype float16"
    )


def test_bytes_of_four_times_the_size_are_still_bytes():
    wide = np.random.default_rng(1).integers(0, 256, (12, 64), np.uint8)
    payload = sequence(CONTEXT, rgb=[in_bytes(row.tobytes()) for row in wide], audio=in_rows(QUANTIZED)["audio"])
    assert faults(payload, RAW) == [
        "feature rgb has 64 values a row where 16 are declared: set --dataset.features.0.size 64"
    ]


def test_another_level_is_told_first():
    assert faults(example(**CONTEXT, rgb=in_bytes(bytes(1024)), audio=in_bytes(bytes(128))), FRAME) == [
        "an Example where a SequenceExample is declared: set --dataset.level video"
    ]
    sequence_of_means = sequence(CONTEXT, mean_rgb=[in_floats(1024)] * 2, mean_audio=[in_floats(128)] * 2)
    assert faults(sequence_of_means, VIDEO) == [
        "a SequenceExample where an Example is declared: set --dataset.level frame"
    ]


def test_what_is_no_record_at_all():
    with pytest.raises(SchemaError, match=r"notes\.txt: neither an Example nor a SequenceExample"):
        check_first_record(b"text, not protobuf", FRAME, "notes.txt")


@pytest.mark.real_data
def test_the_malformed_adverts(shared_data):
    payload = first_payload(shared_data / "malformed" / "float_rgb_wide_audio.tfrecord")
    assert faults(payload, FRAME) == [
        "feature rgb is float where uint8 is declared: set --dataset.features.0.dtype float32",
        "feature audio is float where uint8 is declared: set --dataset.features.1.dtype float32",
        "feature audio has 299 values a row where 128 are declared: set --dataset.features.1.size 299",
    ]
    wide = (FeatureConfig("rgb", 1024, "float32"), FeatureConfig("audio", 299, "float32"))
    assert check_first_record(payload, dataclasses.replace(FRAME, features=wide), "as the message says") is None
    assert faults(payload, VIDEO) == [
        "feature mean_audio has 299 values a row where 128 are declared: set --dataset.features.1.size 299"
    ]


@pytest.mark.real_data
def test_real_records_pass_as_declared(shared_data):
    assert (
        check_first_record(first_payload(shared_data / "youtube8m-2018-video" / "validate0000.tfrecord"), VIDEO, "2018")
        is None
    )
    of_2017 = dataclasses.replace(VIDEO, num_classes=4716)
    for name in ("validatea0", "testa0"):
        assert (
            check_first_record(
                first_payload(shared_data / "youtube8m-2017-video" / f"{name}.tfrecord"), of_2017, "2017"
            )
            is None
        )
    audio = DatasetConfig("audioset", (FeatureConfig("audio_embedding", 128),), 527)
    assert (
        check_first_record(first_payload(shared_data / "audioset" / "train" / "--.tfrecord"), audio, "audioset") is None
    )
