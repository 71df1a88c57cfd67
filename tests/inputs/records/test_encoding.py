"""Encoded records against protobuf itself."""

import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

from pipeline.inputs.records.encoding import encode_example, encode_sequence_example, encode_varint

INT64 = st.integers(-(2**63), 2**63 - 1)


def feature_of(value) -> tf.train.Feature:
    """The same value as protobuf's own message."""
    values = [value] if isinstance(value, bytes | str) else list(value)
    if isinstance(values[0], bytes | str):
        encoded = [item.encode() if isinstance(item, str) else item for item in values]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=encoded))
    if isinstance(values[0], int | np.integer):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["id", "labels", "mean_rgb", "mean_audio", "Zeit", "été"]),
        st.binary(max_size=300)
        | st.text(max_size=8)
        | st.lists(st.binary(max_size=5), min_size=1, max_size=4)
        | st.lists(INT64, min_size=1, max_size=30)
        | st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=40),
        max_size=4,
    )
)
def test_example_is_what_protobuf_writes(features):
    message = tf.train.Example(features=tf.train.Features(feature={k: feature_of(v) for k, v in features.items()}))
    # The features field is there even when it is empty, as it is in any record that a writer filled in.
    message.features.SetInParent()
    assert encode_example(features) == message.SerializeToString(deterministic=True)


@pytest.mark.parametrize("num_frames", [0, 1, 3, 300])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 128, 1024, 16384])
def test_frames_are_what_protobuf_writes(num_frames, size):
    frames = np.random.default_rng(size).integers(0, 256, (min(num_frames, 3 if size > 1024 else 300), size), np.uint8)
    message = tf.train.SequenceExample(
        context=tf.train.Features(feature={"id": feature_of("aDoE"), "labels": feature_of([0, 127, 128, 3861])}),
        feature_lists=tf.train.FeatureLists(
            feature_list={"rgb": tf.train.FeatureList(feature=[feature_of(row.tobytes()) for row in frames])}
        ),
    )
    written = encode_sequence_example({"labels": np.array([0, 127, 128, 3861]), "id": b"aDoE"}, {"rgb": frames})
    assert written == message.SerializeToString(deterministic=True)


def test_halves_are_strings_of_their_bytes():
    rows = np.random.default_rng(0).normal(size=(3, 70)).astype(np.float16)
    expected = encode_sequence_example({}, {"rgb": rows.astype("<f2").view(np.uint8)})
    assert encode_sequence_example({}, {"rgb": np.asfortranarray(rows)}) == expected
    assert encode_example({"rgb": rows[0]}) == encode_example({"rgb": rows[0].astype("<f2").tobytes()})


@pytest.mark.parametrize("size", [0, 1, 31, 32, 5000])
def test_float_frames_are_what_protobuf_writes(size):
    frames = np.random.default_rng(size).standard_normal((3, size), np.float32)
    rows = [tf.train.Feature(float_list=tf.train.FloatList(value=row)) for row in frames]
    message = tf.train.SequenceExample(
        context=tf.train.Features(),
        feature_lists=tf.train.FeatureLists(feature_list={"rgb": tf.train.FeatureList(feature=rows)}),
    )
    assert encode_sequence_example({}, {"rgb": frames}) == message.SerializeToString(deterministic=True)


def test_tensorflow_parses_the_frames_in_any_memory_order():
    rng = np.random.default_rng(0)
    rgb = np.asfortranarray(rng.integers(0, 256, (5, 16), np.uint8))
    audio = rng.integers(0, 256, (10, 3), np.uint8)[::2]
    context, lists = tf.io.parse_single_sequence_example(
        encode_sequence_example({"id": "-abc", "labels": [7, 2]}, {"rgb": rgb, "audio": audio}),
        context_features={"id": tf.io.FixedLenFeature([], tf.string), "labels": tf.io.VarLenFeature(tf.int64)},
        sequence_features={name: tf.io.FixedLenSequenceFeature([], tf.string) for name in ("rgb", "audio")},
    )
    assert context["id"].numpy() == b"-abc"
    assert context["labels"].values.numpy().tolist() == [7, 2]
    for name, frames in (("rgb", rgb), ("audio", audio)):
        np.testing.assert_array_equal(tf.io.decode_raw(lists[name], tf.uint8).numpy(), frames)


def test_keys_are_sorted_so_that_equal_records_are_equal_bytes():
    frames = np.zeros((2, 4), np.uint8)
    one = encode_sequence_example({"id": "a", "labels": [1]}, {"rgb": frames, "audio": frames})
    assert one == encode_sequence_example({"labels": [1], "id": "a"}, {"audio": frames, "rgb": frames})


@pytest.mark.parametrize("dtype, kind", [(np.int64, "int64_list"), (np.float32, "float_list")])
def test_an_empty_array_keeps_its_type(dtype, kind):
    message = tf.train.Example.FromString(encode_example({"labels": np.array([], dtype)}))
    assert message.features.feature["labels"].WhichOneof("kind") == kind


@given(INT64)
def test_varint_is_base_128_of_the_twos_complement(value):
    encoded = encode_varint(value)
    assert sum((byte & 0x7F) << 7 * place for place, byte in enumerate(encoded)) == value % 2**64
    assert [byte >> 7 for byte in encoded] == [1] * (len(encoded) - 1) + [0]


@pytest.mark.parametrize("value", [[], np.array([True]), [None], ["text", 1], np.array([1 + 2j])])
def test_a_value_without_a_type_is_refused_by_name(value):
    with pytest.raises(TypeError, match="labels"):
        encode_example({"labels": value})


@pytest.mark.parametrize("value", [np.array([2**63], np.uint64), [2**63], [-(2**63) - 1]])
def test_an_integer_that_int64_does_not_hold_is_refused(value):
    with pytest.raises((TypeError, ValueError), match="labels"):
        encode_example({"labels": value})


@pytest.mark.parametrize("frames", [np.zeros((2, 3)), np.zeros((2, 3), np.int64), np.zeros(3, np.uint8)])
def test_frames_of_another_dtype_or_rank_are_refused_by_name(frames):
    with pytest.raises((TypeError, ValueError), match="rgb"):
        encode_sequence_example({}, {"rgb": frames})
