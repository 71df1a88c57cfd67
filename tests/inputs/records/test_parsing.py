"""Records by hand against TensorFlow's own parsers, on real files, odd encodings and damage."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from reference.records import (
    FRAME,
    REAL,
    UNKNOWN,
    VIDEO,
    assert_agrees,
    by_tensorflow,
    example,
    field,
    frame_record,
    frames,
    in_bytes,
    in_floats,
    in_integers,
    rows,
    sequence,
    video_record,
)

from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.inputs.records import parsing
from pipeline.inputs.records.encoding import encode_example, encode_sequence_example
from pipeline.inputs.records.parsing import ParseError, parse_features, parse_record

# ------------------------------------------------------------------------------------------------------ valid records


@pytest.mark.parametrize("count", [1, 2, 39, 40])
def test_frame_level_is_a_view_without_a_copy(count):
    payload = frame_record(count)
    assert_agrees(payload, FRAME)
    whole = np.frombuffer(payload, np.uint8)
    for found in (*parse_record(payload, FRAME).features, *parse_features(memoryview(payload), FRAME)):
        assert np.shares_memory(found, whole)


def test_a_video_longer_than_what_is_read_is_parsed_as_a_whole(monkeypatch):
    parsed = parse_record(frame_record(60), FRAME)
    assert parsed.num_frames == 60 > FRAME.max_frames
    np.testing.assert_array_equal(parsed.features[0], frames(60, 24))
    monkeypatch.setattr(parsing, "MOST_FRAMES", 59)
    with pytest.raises(ParseError, match="feature rgb has 60 frames; the most is 59: cut the video"):
        parse_record(frame_record(60), FRAME)


def test_video_level():
    assert_agrees(video_record(), VIDEO)
    payload = video_record()
    assert np.shares_memory(parse_record(payload, VIDEO).features[1], np.frombuffer(payload, np.uint8))


def test_floats_by_the_frame_and_bytes_by_the_video():
    rows = np.random.default_rng(0).normal(size=(6, 24)).astype(np.float32)
    payload = sequence({"id": in_bytes(b"a")}, {"rgb": [in_floats(*row) for row in rows]})
    dataset = DatasetConfig("floats", (FeatureConfig("rgb", 24, "float32"),), 10)
    parsed = parse_record(payload, dataset)
    np.testing.assert_array_equal(parsed.features[0], rows)
    assert np.shares_memory(parsed.features[0], np.frombuffer(payload, np.uint8))
    dataset = DatasetConfig("bytes", (FeatureConfig("audio", 8, source="quantized"),), 10, level="video")
    parsed = parse_record(example(id=in_bytes(b"a"), quantized=in_bytes(bytes(range(8)))), dataset)
    np.testing.assert_array_equal(parsed.features[0], [range(8)])


@pytest.mark.parametrize("level", ["frame", "video"])
def test_halves(level):
    rows = np.random.default_rng(0).normal(size=(6 if level == "frame" else 1, 24)).astype(np.float16)
    rows[0, 3] = -65504
    dataset = DatasetConfig("halves", (FeatureConfig("rgb", 24, "float16"),), 10, level=level)

    def payload(rows):
        if level == "frame":
            return encode_sequence_example({"id": "a"}, {"rgb": rows})
        return encode_example({"id": "a", "rgb": rows[0]})

    parsed = parse_record(payload(rows), dataset)
    assert parsed.features[0].dtype == np.float16 and parsed.peaks == [65504]
    np.testing.assert_array_equal(parsed.features[0], rows)
    parsed = parse_record(whole := payload(rows), dataset)
    assert np.shares_memory(parsed.features[0], np.frombuffer(whole, np.uint8))
    with pytest.raises(ParseError, match=r"has 46 bytes, 48 are declared"):
        parse_record(payload(rows[:, 1:]), dataset)
    with pytest.raises(ParseError, match="is a float_list where bytes are declared"):
        parse_record(payload(rows.astype(np.float32)), dataset)
    for wrong in (np.nan, np.inf, -np.inf):
        rows[-1, 23] = wrong
        with pytest.raises(ParseError, match="feature rgb holds values that are not finite"):
            parse_record(payload(rows), dataset)


def test_labels_may_be_missing_empty_or_repeated():
    for labels in ({}, {"labels": in_integers()}, {"labels": tf.train.Feature()}):
        parsed = parse_record(frame_record(context={"video_id": in_bytes(b"a")} | labels), FRAME)
        assert parsed.id == "a" and parsed.labels.dtype == np.int32 and parsed.labels.shape == (0,)
    assert parse_record(video_record(labels=in_integers(9, 4, 9)), VIDEO).labels.tolist() == [9, 4]


def test_a_single_label_dataset_takes_records_of_one_label_or_of_unknown_ones():
    single = dataclasses.replace(VIDEO, task="single_label")
    assert parse_record(video_record(labels=in_integers(4, 4)), single).labels.tolist() == [4]
    unknown = frame_record(context={"video_id": in_bytes(b"a")})
    assert not parse_record(unknown, dataclasses.replace(FRAME, task="single_label")).labeled
    for numbers, got in (
        ((), "no label"),
        ((9, 4), r"2 labels \(9, 4\)"),
        (range(2, 9), r"7 labels \(2, 3, 4, 5, 6, "),
    ):
        with pytest.raises(
            ParseError, match=f"labels holds {got}.*single_label declares exactly one: leave the key out"
        ):
            parse_record(video_record(labels=in_integers(*numbers)), single)


def test_the_first_key_of_an_id_counts():
    payload = frame_record(context={"video_id": in_bytes(b"second"), "id": in_bytes(b"first")})
    assert parse_record(payload, FRAME).id == "first"


@pytest.mark.parametrize("id", ["1e10", "NaN", "-abc", "_abc", "0012", "true", "0e12", "-_aaILOrkII", "ключ", "a b"])
def test_ids_are_text(id):
    assert parse_record(frame_record(context={"id": in_bytes(id.encode())}), FRAME).id == id


def test_what_no_writer_makes_but_every_parser_reads():
    """Long lengths, labels not packed, sections in any order and in pieces, unknown fields beside them."""
    id_entry = field(0x0A, field(0x0A, b"id") + field(0x12, field(0x0A, field(0x0A, b"aDoE"))))
    labels = field(0x0A, field(0x0A, b"labels") + field(0x12, field(0x1A, b"\x08\x05\x08\x80\x01\x08\x02\x08\x85\x00")))
    rgb = field(0x0A, field(0x0A, b"rgb") + field(0x12, rows(24, range(3))))
    audio = field(0x0A, field(0x0A, b"audio") + field(0x12, rows(8, range(3))))
    payload = field(0x12, rgb) + field(0x0A, id_entry) + UNKNOWN + field(0x12, audio) + field(0x0A, labels)
    assert_agrees(payload, FRAME)
    parsed = parse_record(payload, FRAME)
    assert parsed.id == "aDoE" and parsed.labels.tolist() == [5, 128, 2]
    assert parsed.features[1].tolist() == [[number] * 8 for number in range(3)]


@pytest.mark.parametrize(
    ("context", "rgb_rows"),
    [
        (UNKNOWN, rows(24, range(3))),
        (b"", rows(24, range(3), UNKNOWN)),
        (b"\x0a\x02\x0a\x00", rows(24, range(3))),  # an entry without a value
        (b"\x0a\x0b\x12\x05\x1a\x03\x0a\x01\x05\x0a\x02lo", rows(24, range(3))),  # value before key
    ],
)
def test_what_protobuf_allows_and_tensorflow_refuses_is_refused(context, rgb_rows):
    id_entry = field(0x0A, field(0x0A, b"id") + field(0x12, field(0x0A, field(0x0A, b"aDoE"))))
    rgb = field(0x0A, field(0x0A, b"rgb") + field(0x12, rgb_rows))
    audio = field(0x0A, field(0x0A, b"audio") + field(0x12, rows(8, range(3))))
    payload = field(0x0A, id_entry + context) + field(0x12, rgb + audio)
    tf.train.SequenceExample.FromString(payload)
    with pytest.raises(tf.errors.InvalidArgumentError):
        by_tensorflow(payload, FRAME)
    with pytest.raises(ParseError, match="damaged"):
        parse_record(payload, FRAME)


def test_unpacked_floats_are_read():
    values = np.arange(24, dtype=np.float32)
    unpacked = b"".join(b"\x0d" + value.tobytes() for value in values)
    features = tf.train.Example.FromString(video_record()).features
    rest = {key: feature for key, feature in features.feature.items() if key != "mean_rgb"}
    entry = field(0x0A, b"mean_rgb") + field(0x12, field(0x12, unpacked))
    payload = example(**rest) + field(0x0A, field(0x0A, entry))
    assert_agrees(payload, VIDEO)
    np.testing.assert_array_equal(parse_record(payload, VIDEO).features[0][0], values)


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
        (frame_record(5, audio=[in_bytes(bytes(8))] * 4), "rgb has 5 frames but audio 4: cut both to 4"),
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
        (
            sequence({"id": in_bytes(b"a")}, {"RGB": [GOOD]}),
            "feature under the key rgb: write zeros where a video has none, or do not declare it; there are: RGB",
        ),
        (video_record(), "no frame feature under the key rgb: .*; there are: none"),
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
        parse_record(payload, FRAME)


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        ({"mean_rgb": in_floats(*range(23))}, "feature mean_rgb has 23 floats, 24 are declared"),
        ({"mean_rgb": in_floats(*range(48))}, "feature mean_rgb has 48 floats, 24 are declared"),
        ({"mean_rgb": in_bytes(bytes(96))}, "feature mean_rgb is a bytes_list where floats are declared"),
        ({"mean_audio": in_floats(*[0] * 7, np.nan)}, "feature mean_audio holds values that are not finite"),
        ({"mean_audio": in_floats(*[0] * 7, -np.inf)}, "feature mean_audio holds values that are not finite"),
        ({"mean_audio": in_floats(*[0] * 7, -1e30)}, r"feature mean_audio reaches 1.0e\+30; float32 cannot sum"),
    ],
)
def test_what_is_wrong_with_a_video_is_named(features, reason):
    with pytest.raises(ParseError, match=reason):
        parse_record(video_record(**features), VIDEO)


def test_names_that_differ_by_case_are_different():
    payload = frame_record(context={"Id": in_bytes(b"wrong"), "id": in_bytes(b"right"), "Labels": in_integers(1)})
    parsed = parse_record(payload, FRAME)
    assert parsed.id == "right" and len(parsed.labels) == 0


# ---------------------------------------------------------------------------------------------------------- real files


@pytest.mark.wide
@pytest.mark.real_data
@pytest.mark.parametrize("folder", REAL)
def test_every_real_record_as_tensorflow_reads_it(shared_data, folder):
    count, dataset = REAL[folder]
    spec = {key: tf.io.FixedLenFeature([], tf.string, "") for key in dataset.id_keys}
    spec["labels"] = tf.io.VarLenFeature(tf.int64)
    lists = {f.key: tf.io.FixedLenSequenceFeature([], tf.string) for f in dataset.features}

    def read(payload):
        if dataset.level == "video":
            floats = {f.key: tf.io.FixedLenFeature([f.size], tf.float32) for f in dataset.features}
            found = tf.io.parse_single_example(payload, spec | floats)
            features = {f.key: found[f.key] for f in dataset.features}
        else:
            found, rows = tf.io.parse_single_sequence_example(payload, spec, lists)
            features = {key: tf.strings.reduce_join(rows[key]) for key in rows}
        labels = tf.strings.reduce_join(tf.strings.as_string(found["labels"].values), separator=",")
        return payload, found["id"] + found["video_id"], labels, features

    files = sorted(str(path) for path in (shared_data / folder).iterdir())
    met = 0
    for payloads, ids, labels, features in tf.data.TFRecordDataset(files).map(read).batch(256).as_numpy_iterator():
        met += len(payloads)
        for row, payload in enumerate(payloads):
            parsed = parse_record(payload, dataset)
            assert parsed.id.encode() == ids[row]
            assert ",".join(map(str, parsed.labels.tolist())).encode() == labels[row]
            for values, declared in zip(parsed.features, dataset.features):
                assert values.shape == (parsed.num_frames, declared.size)
                expected = features[declared.key][row]
                assert values.tobytes() == (expected if isinstance(expected, bytes) else expected.tobytes())
    assert met == count or (count is None and met > 2000)
