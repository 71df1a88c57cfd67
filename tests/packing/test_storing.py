"""How values are stored: float16, float32 and bytes, and what cannot be stored."""

import numpy as np
import pytest
from fixtures.features import ArraySource, random_videos

from pipeline.config import FeatureConfig
from pipeline.config.errors import StageError
from pipeline.packing.sources.source import UnreadableFeature
from pipeline.packing.storing import UnstorableValues, measure_range, measure_ranges, store, stored_features
from pipeline.packing.videos import join_features

RNG = np.random.default_rng(7)


def test_floats_are_float16_by_default_and_bytes_stay_bytes():
    values = RNG.normal(size=(4, 3)).astype(np.float32)
    stored = store(values, FeatureConfig("a", 3, "float16"), "a.npy")
    assert stored.dtype == "<f2" and stored.tobytes() == values.astype(np.float16).tobytes()
    np.testing.assert_array_equal(store(values, FeatureConfig("a", 3, "float32"), "a.npy"), values)
    raw = RNG.integers(0, 256, (4, 3), np.uint8)
    assert store(raw, FeatureConfig("a", 3, "uint8"), "a.npy") is raw
    np.testing.assert_array_equal(store(values.astype(np.float64), FeatureConfig("a", 3, "float32"), "a.npy"), values)


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named(dtype, bad):
    values = np.zeros((4, 3), np.float32)
    values[2, 1] = bad
    with pytest.raises(UnstorableValues, match=rf"feature a, frame 2, value 1 is {bad}; extract it again") as error:
        store(values, FeatureConfig("a", 3, dtype), "a.npy")
    assert error.value.where == "a.npy"


def test_what_float16_cannot_hold_is_refused_with_the_remedy():
    with pytest.raises(UnstorableValues, match=r"reaches 7e\+04, beyond float16: pack .* --dtype float32"):
        store(np.full((1, 3), -70000, np.float32), FeatureConfig("a", 3, "float16"), "a.npy")


@pytest.mark.parametrize("sign", [1, -1])
def test_float16_holds_what_is_rounded_to_its_largest_number(sign):
    largest = np.nextafter(np.float32(65520), np.float32(0))
    values = np.array([[0, sign * largest]], np.float32)
    assert store(values, FeatureConfig("rgb", 2, "float16"), "x").tolist() == [[0, sign * 65504]]
    with pytest.raises(UnstorableValues, match="beyond float16"):
        store(np.array([[0, sign * 65520]], np.float32), FeatureConfig("rgb", 2, "float16"), "x")


def test_features_of_one_dataset_are_stored_alike():
    floats = ArraySource("f", random_videos(RNG, {"a": 2}))
    bytes_ = ArraySource("b", {"a": np.zeros((2, 4), np.uint8)})
    videos, _ = join_features([floats, bytes_], None)
    with pytest.raises(StageError, match="f is float32, b is uint8: all features of a dataset are stored alike"):
        stored_features(videos, "float16", [])
    ranges = measure_ranges(join_features([floats, floats], None)[0], np.random.default_rng(0))
    found = stored_features(join_features([floats, floats], None)[0], "float16", ranges)
    assert [each.dtype for each in found] == ["uint8", "uint8"] and found[0].minimum < 0 < found[0].maximum


def test_bytes_have_no_range_to_measure():
    floats = ArraySource("f", random_videos(RNG, {"a": 20}))
    bytes_ = ArraySource("b", {"a": np.zeros((20, 4), np.uint8)})
    videos, _ = join_features([floats, bytes_], None)
    ranges = measure_ranges(videos, np.random.default_rng(0))
    assert ranges[0] is not None and ranges[1] is None
    first, second = stored_features(videos, "float16", ranges)
    assert first.minimum < 0 < first.maximum and second == FeatureConfig("b", 4, "uint8")
    with pytest.raises(StageError, match="--quantize has nothing to do: b hold bytes already"):
        measure_ranges(join_features([bytes_], None)[0], np.random.default_rng(0))


def test_videos_that_cannot_be_read_are_passed_over_when_ranges_are_measured():
    arrays = random_videos(RNG, {"a": 9, "b": 9})
    source = ArraySource("f", {"a": UnreadableFeature("a.npy", "is cut short"), "b": arrays["b"]}, {"a": 9})
    (found,) = measure_ranges(join_features([source], None)[0], np.random.default_rng(0))
    assert found == measure_range(arrays["b"], "f")


def test_a_measured_range_ignores_what_is_wild_and_says_what_it_costs():
    values = np.append(RNG.normal(size=100_000), [1e6, -1e6]).astype(np.float32)
    found = measure_range(values, "a")
    assert -3.6 < found.minimum < -3.1 and 3.1 < found.maximum < 3.6
    assert 0.0005 < found.clipped < 0.0015
    # A uniform quantizer of 256 steps over +-3.3 standard deviations: steps of 0.0258, an error of step^2 / 12.
    calm = np.clip(values, found.minimum, found.maximum)
    expected = 10 * np.log10(calm.var() / (((found.maximum - found.minimum) / 255) ** 2 / 12))
    assert measure_range(calm, "a").decibels == pytest.approx(expected, abs=0.3)


def test_a_constant_feature_has_no_range():
    with pytest.raises(StageError, match="feature a has no range to quantize: its values are 2; leave out --quantize"):
        measure_range(np.full((5, 3), 2, np.float32), "a")
