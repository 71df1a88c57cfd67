"""Floats and wide integers in bytes are recognized; quantized features, real and made up, are not mistaken for them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.inputs.records import tfrecord
from pipeline.inputs.records.parsing import parse_record
from pipeline.inputs.records.raw_numbers import TYPES, raw_type

SHAPES = [(1, 128), (1, 1024), (12, 16), (300, 128)]


def memory(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).view(np.uint8)


def makers(random: np.random.Generator, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Floats as programs make them."""
    return {
        "normal": random.normal(size=shape),
        "small": random.normal(0, 0.01, shape),
        "rectified": random.normal(0, 3, shape).clip(0),
        "dequantized": random.integers(0, 256, shape) * (4 / 255) + 4 / 512 - 2,
        "unit vectors": (x := random.normal(size=shape)) / np.linalg.norm(x, axis=1, keepdims=True),
        "computed in half precision": random.normal(size=shape).astype(np.float16).astype(np.float32),
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_floats_are_recognized(shape):
    for what, values in makers(np.random.default_rng(0), shape).items():
        for name in ("float32", "float64"):
            assert raw_type(memory(values.astype(name)), shape[1]) == name, (what, name)
            assert raw_type(memory(values.astype(name))) == name, (what, name)
    wide = np.random.default_rng(0).normal(size=(4, 1024)).astype(np.float16)
    assert raw_type(memory(wide), 1024) == raw_type(memory(wide)) == "float16"


@pytest.mark.parametrize("name", ["int16", "int32", "int64"])
def test_wide_integers_are_recognized(name):
    values = np.random.default_rng(0).integers(0, 256, (12, 16)).astype(name)
    assert raw_type(memory(values), 16) == raw_type(memory(values)) == name


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1 << 32), st.sampled_from([8, 16, 64, 128, 1024]), st.sampled_from([1, 2, 12, 60]))
def test_quantized_values_are_not_mistaken(seed, width, count):
    random = np.random.default_rng(seed)
    shape, center = (count, width), random.integers(0, 256, width)
    for values in (
        random.integers(0, 256, shape),
        random.normal(center, 30, shape),
        random.normal(center[0], random.choice([1, 3, 10, 30]), shape),
        random.normal(-20, 60, shape),
        random.integers(0, 256, shape) * (random.random(shape) < 0.1),
        np.broadcast_to(center, shape),
        np.full(shape, center[0]),
        np.zeros(shape),
    ):
        assert raw_type(np.clip(values, 0, 255).astype(np.uint8)) is None


@pytest.mark.parametrize("value", range(256))
def test_bytes_that_are_all_the_same_are_not_mistaken(value):
    for size in (None, *(64 // dtype.itemsize for dtype in TYPES.values())):
        assert raw_type(np.full((12, 64), value, np.uint8), size) is None


@pytest.mark.real_data
def test_real_features_are_not_mistaken(shared_data):
    audio = DatasetConfig("audioset", (FeatureConfig("audio_embedding", 128),), 527)
    video = DatasetConfig("frames", (FeatureConfig("rgb", 1024), FeatureConfig("audio", 128)), 3862)
    places = [(path, audio) for path in sorted((shared_data / "audioset" / "train").iterdir())[:150]]
    places += [(path, video) for path in (shared_data / "youtube8m-frame").glob("*.tfrecord")]
    met = 0
    for path, dataset in places:
        for record in tfrecord.scan_records(path):
            for rows in parse_record(record.payload, dataset).features:
                for part in (rows, rows[:1], rows[:, :64], rows[:, 64:80]):
                    assert raw_type(np.ascontiguousarray(part)) is None, path
                    met += 1
    assert met > 3000


@pytest.mark.real_data
def test_real_floats_are_recognized_and_their_quantized_form_is_not(shared_data):
    features = (FeatureConfig("mean_rgb", 1024, "float32"), FeatureConfig("mean_audio", 128, "float32"))
    dataset = DatasetConfig("video", features, 3862, level="video")
    for record in tfrecord.scan_records(shared_data / "youtube8m-2018-video" / "validate0003.tfrecord"):
        for rows in parse_record(record.payload, dataset).features:
            assert raw_type(memory(rows)) == "float32" and raw_type(memory(rows.astype("f8"))) == "float64"
            quantized = np.rint((rows.clip(-2, 2) + 2 - 4 / 512) * 255 / 4).astype(np.uint8)
            assert raw_type(quantized) is None
