"""Records by hand against TensorFlow's own parsers, on real files, odd encodings and damage."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.inputs import tfrecord
from pipeline.inputs.parsing import ParseError, parse, parse_features

FRAME = DatasetConfig("frame", (FeatureConfig("rgb", 24), FeatureConfig("audio", 8)), 3862, max_frames=40)
VIDEO = DatasetConfig(
    "video", (FeatureConfig("mean_rgb", 24, "float32"), FeatureConfig("mean_audio", 8, "float32")), 3862, level="video"
)
AUDIOSET = DatasetConfig("audioset", (FeatureConfig("audio_embedding", 128),), 527)


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


def field(tag: int, value: bytes) -> bytes:
    """One field of up to 16383 bytes, its length in a varint that is one byte longer than it need be."""
    return bytes([tag, len(value) & 127 | 128, len(value) >> 7 | 128, 0]) + value


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
    expected, parsed = reference(payload, dataset), parse(memoryview(payload), dataset)
    assert [parsed.id] == expected["ids"]
    assert parsed.labels.dtype == np.int32
    assert parsed.labels.tolist() == list(dict.fromkeys(expected["labels"].tolist()))
    assert parsed.num_frames == min(len(expected["features"][0]), dataset.max_frames)
    for ours, theirs, alone, declared in zip(
        parsed.features, expected["features"], parse_features(payload, dataset), dataset.features
    ):
        assert ours.dtype == declared.dtype and ours.shape == (parsed.num_frames, declared.size)
        np.testing.assert_array_equal(ours, theirs[: dataset.max_frames])
        np.testing.assert_array_equal(ours, alone)


def payloads(path) -> list[bytes]:
    records = list(tfrecord.scan(path))
    assert not any(record.fault for record in records)
    return [bytes(record.payload) for record in records]


# ------------------------------------------------------------------------------------------------------ valid records


@pytest.mark.parametrize("count", [1, 2, 39, 40])
def test_frame_level_is_a_view_without_a_copy(count):
    payload = frame_record(count)
    assert_agrees(payload, FRAME)
    whole = np.frombuffer(payload, np.uint8)
    for rows in (*parse(payload, FRAME).features, *parse_features(memoryview(payload), FRAME)):
        assert np.shares_memory(rows, whole)


def test_frames_beyond_the_most_are_cut():
    parsed = parse(frame_record(60), FRAME)
    assert parsed.num_frames == 40
    np.testing.assert_array_equal(parsed.features[0], frames(60, 24)[:40])


def test_video_level():
    assert_agrees(video_record(), VIDEO)
    payload = video_record()
    assert np.shares_memory(parse(payload, VIDEO).features[1], np.frombuffer(payload, np.uint8))


def test_floats_by_the_frame_and_bytes_by_the_video():
    rows = np.random.default_rng(0).normal(size=(6, 24)).astype(np.float32)
    payload = sequence({"id": in_bytes(b"a")}, {"rgb": [in_floats(*row) for row in rows]})
    dataset = DatasetConfig("floats", (FeatureConfig("rgb", 24, "float32"),), 10)
    parsed = parse(payload, dataset)
    np.testing.assert_array_equal(parsed.features[0], rows)
    assert np.shares_memory(parsed.features[0], np.frombuffer(payload, np.uint8))
    dataset = DatasetConfig("bytes", (FeatureConfig("audio", 8, source="quantized"),), 10, level="video")
    parsed = parse(example(id=in_bytes(b"a"), quantized=in_bytes(bytes(range(8)))), dataset)
    np.testing.assert_array_equal(parsed.features[0], [range(8)])


def test_labels_may_be_missing_empty_or_repeated():
    for labels in ({}, {"labels": in_integers()}, {"labels": tf.train.Feature()}):
        parsed = parse(frame_record(context={"video_id": in_bytes(b"a")} | labels), FRAME)
        assert parsed.id == "a" and parsed.labels.dtype == np.int32 and parsed.labels.shape == (0,)
    assert parse(video_record(labels=in_integers(9, 4, 9)), VIDEO).labels.tolist() == [9, 4]


def test_the_first_key_of_an_id_counts():
    payload = frame_record(context={"video_id": in_bytes(b"second"), "id": in_bytes(b"first")})
    assert parse(payload, FRAME).id == "first"


@pytest.mark.parametrize("id", ["1e10", "NaN", "-abc", "_abc", "0012", "true", "0e12", "-_aaILOrkII", "ключ", "a b"])
def test_ids_are_text(id):
    assert parse(frame_record(context={"id": in_bytes(id.encode())}), FRAME).id == id


def test_any_valid_encoding_is_read():
    """Long varints, unknown fields, values before keys, split messages: what no writer makes but protobuf allows."""
    unknown = b"\xa2\x06\x03abc" + b"\xa8\x06\xff\xff\x01" + b"\xad\x06abcd" + b"\xb1\x06abcdefgh"
    id_feature = field(0x0A, unknown + field(0x0A, b"aDoE"))
    labels = field(0x1A, b"\x08\x05\x0a\x03\x80\x01\x02" + unknown) + field(0x1A, b"\x08\x85\x00")
    context = field(0x0A, field(0x12, id_feature) + field(0x0A, b"id") + unknown)
    more = field(0x0A, field(0x0A, b"labels") + field(0x12, labels))

    def rows(size: int, numbers: range) -> bytes:
        return b"".join(
            unknown + field(0x0A, unknown + field(0x0A, field(0x0A, bytes([number]) * size))) for number in numbers
        )

    rgb = field(0x0A, field(0x12, rows(24, range(2))) + field(0x0A, b"rgb") + field(0x12, rows(24, range(2, 3))))
    audio = field(0x0A, field(0x0A, b"audio") + field(0x12, rows(8, range(3))))
    payload = field(0x12, rgb) + field(0x0A, context) + unknown + field(0x12, audio) + field(0x0A, more)
    reference = tf.train.SequenceExample.FromString(payload)
    parsed = parse(payload, FRAME)
    assert parsed.id == "aDoE"
    assert (
        parsed.labels.tolist()
        == [5, 128, 2]
        == list(dict.fromkeys(reference.context.feature["labels"].int64_list.value))
    )
    for declared, values in zip(FRAME.features, parsed.features):
        rows_there = reference.feature_lists.feature_list[declared.key].feature
        assert [row.tobytes() for row in values] == [row.bytes_list.value[0] for row in rows_there]


def test_unpacked_floats_are_read():
    values = np.arange(24, dtype=np.float32)
    unpacked = b"".join(b"\x0d" + value.tobytes() for value in values)
    features = tf.train.Example.FromString(video_record()).features
    rest = {key: feature for key, feature in features.feature.items() if key != "mean_rgb"}
    entry = field(0x0A, b"mean_rgb") + field(0x12, field(0x12, unpacked))
    payload = example(**rest) + field(0x0A, field(0x0A, entry))
    assert_agrees(payload, VIDEO)
    np.testing.assert_array_equal(parse(payload, VIDEO).features[0][0], values)


# ------------------------------------------------------------------------------------------------------ wrong records


def rgb(*rows: tf.train.Feature) -> dict:
    return {"rgb": list(rows), "audio": [in_bytes(bytes(8))] * len(rows)}


GOOD = in_bytes(bytes(24))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (frame_record(**rgb(*[GOOD] * 17, in_bytes(bytes(20)))), "feature rgb: frame 17 has 20 bytes, 24 are declared"),
        (frame_record(**rgb(GOOD, in_floats(1))), "feature rgb: frame 1 is a float_list where bytes are declared"),
        # as long as a frame of bytes: only its header tells
        (
            frame_record(**rgb(GOOD, in_floats(*range(6)))),
            "feature rgb: frame 1 is a float_list where bytes are declared",
        ),
        (frame_record(**rgb(GOOD, in_bytes(bytes(24), bytes(24)))), "feature rgb: frame 1 holds 2 values where one"),
        (frame_record(**rgb(GOOD, in_bytes())), "feature rgb: frame 1 holds 0 values where one"),
        (frame_record(**rgb(GOOD, tf.train.Feature())), "feature rgb: frame 1 is an empty feature where bytes"),
        (frame_record(5, audio=[in_bytes(bytes(8))] * 4), "rgb has 5 frames but audio 4"),
        (frame_record(0), "feature rgb has no frames"),
        (frame_record(context={"ID": in_bytes(b"a")}), "no id under the keys id, video_id; there are: ID"),
        (frame_record(context={}), "no id under the keys id, video_id; there are: none"),
        (frame_record(context={"id": in_integers(4)}), "id is an int64_list where the bytes of an id are declared"),
        (frame_record(context={"id": in_bytes(b"a", b"b")}), "id holds 2 values where one id is declared"),
        (
            frame_record(context={"id": in_bytes(b"")}),
            "id is '', an id that the challenge's CSV cannot hold: it is empty",
        ),
        (frame_record(context={"id": in_bytes(b"\xff")}), r"id b'\\xff' is not UTF-8"),
        (
            frame_record(context={"id": in_bytes(b"a,b")}),
            "id is 'a,b', an id that the challenge's CSV cannot hold: it",
        ),
        (frame_record(context={"id": in_bytes(b'a"b')}), "an id that the challenge's CSV cannot hold"),
        (frame_record(context={"id": in_bytes(b"a\r")}), "an id that the challenge's CSV cannot hold"),
        (frame_record(context={"id": in_bytes("a\u2028".encode())}), "an id that the challenge's CSV cannot hold"),
        (frame_record(context={"id": in_bytes(b"a"), "labels": in_integers(1, 4000)}), "label 4000 is outside 0..3861"),
        (frame_record(context={"id": in_bytes(b"a"), "labels": in_integers(-1)}), "label -1 is outside 0..3861"),
        (frame_record(context={"id": in_bytes(b"a"), "labels": in_floats(1)}), "labels is a float_list where integers"),
        (sequence({"id": in_bytes(b"a")}, {"RGB": [GOOD]}), "no frame feature under the key rgb; there are: RGB"),
        (video_record(), "no frame feature under the key rgb; there are: none"),
        (b"", "no frame feature under the key rgb"),
        (b"\x0b\x0c", "wire type 3 before byte 1"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "a field with tag 10 runs from byte 10"),
        (b"\x0a" + b"\xff" * 20, "does not end; the record is damaged"),
        (b"\x02\x00", "a field with tag 2"),
        (b"\x0a", "does not end; the record is damaged"),
    ],
)
def test_what_is_wrong_is_named(payload, reason):
    with pytest.raises(ParseError, match=reason.replace("..", r"\.\.")):
        parse(payload, FRAME)


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        ({"mean_rgb": in_floats(*range(23))}, "feature mean_rgb has 23 floats, 24 are declared"),
        ({"mean_rgb": in_floats(*range(48))}, "feature mean_rgb has 48 floats, 24 are declared"),
        ({"mean_rgb": in_bytes(bytes(96))}, "feature mean_rgb is a bytes_list where floats are declared"),
        ({"mean_audio": in_floats(*[np.nan] * 8)}, "feature mean_audio holds values that are not finite"),
    ],
)
def test_what_is_wrong_with_a_video_is_named(features, reason):
    with pytest.raises(ParseError, match=reason):
        parse(video_record(**features), VIDEO)


def test_names_that_differ_by_case_are_different():
    payload = frame_record(context={"Id": in_bytes(b"wrong"), "id": in_bytes(b"right"), "Labels": in_integers(1)})
    parsed = parse(payload, FRAME)
    assert parsed.id == "right" and len(parsed.labels) == 0


# ------------------------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize(("dataset", "seed"), [(FRAME, 0), (VIDEO, 1)])
def test_damage_never_crashes_and_what_is_accepted_is_what_tensorflow_reads(dataset, seed):
    random = np.random.default_rng(seed)
    originals = [frame_record(n) for n in (1, 3, 12)] if dataset is FRAME else [video_record()]
    accepted = 0
    for trial in range(1000):
        payload = mutate(originals[trial % len(originals)], random)
        try:
            parse(payload, dataset)
        except ParseError:
            continue
        accepted += 1
        try:
            assert_agrees(payload, dataset)
        except (tf.errors.InvalidArgumentError, UnicodeDecodeError):  # the latter comes of quoting bytes in its message
            # TensorFlow takes a known field of the wrong wire type for damage, protobuf for an unknown field
            assert_agrees(payload, dataset, by_protobuf)
    assert accepted > 150


def mutate(payload: bytes, random: np.random.Generator) -> bytes:
    data = bytearray(payload)
    for _ in range(random.integers(1, 3)):
        # half of the places lie near the start, where the structure is, and not in the values
        place = int(random.integers(0, len(data) if random.random() < 0.5 else min(60, len(data))))
        match random.integers(0, 12):
            case 0:
                del data[place : place + random.integers(1, 9)]
            case 1:
                data[place:place] = data[: random.integers(1, 40)]
            case 2:
                data = data[: place + 1]
            case 3 | 4 | 5 | 6:
                data[place] = random.integers(0, 256)
            case _:
                data[place] ^= 1 << random.integers(0, 8)
    return bytes(data)


# ---------------------------------------------------------------------------------------------------------- real files


@pytest.mark.real_data
def test_audioset_as_tensorflow_reads_it(shared_data):
    files = sorted((shared_data / "audioset" / "train").iterdir())[::100]
    found = [payload for path in files for payload in payloads(path)]
    assert len(found) > 100
    for payload in found:
        assert_agrees(payload, AUDIOSET)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "classes", "step"),
    [("youtube8m-2017-video", 4716, 1), ("youtube8m-2018-video", 3862, 20)],
)
def test_video_level_as_tensorflow_reads_it(shared_data, folder, classes, step):
    features = (FeatureConfig("mean_rgb", 1024, "float32"), FeatureConfig("mean_audio", 128, "float32"))
    dataset = DatasetConfig("video", features, classes, level="video")
    spec = {f.key: tf.io.FixedLenFeature([f.size], tf.float32) for f in features}
    spec |= {"labels": tf.io.RaggedFeature(tf.int64)} | {
        key: tf.io.FixedLenFeature([], tf.string, "") for key in dataset.id_keys
    }
    for path in sorted((shared_data / folder).iterdir())[::step]:
        records = payloads(path)
        reference = tf.data.Dataset.from_tensor_slices(records).map(
            lambda record: tf.io.parse_single_example(record, spec)
        )
        for payload, expected in zip(records, reference.as_numpy_iterator()):
            parsed = parse(payload, dataset)
            assert parsed.id.encode() == (expected["id"] or expected["video_id"])
            assert parsed.labels.tolist() == expected["labels"].tolist()
            assert len(parsed.labels) or path.name.startswith("test")
            for rows, feature in zip(parsed.features, features):
                np.testing.assert_array_equal(rows, expected[feature.key][None])
