"""Features of videos brought together, and streams of unequal length."""

import numpy as np
import pytest
from fixtures.features import ArraySource, random_videos
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.errors import StageError
from pipeline.packing.sources.source import UnreadableFeature
from pipeline.packing.videos import align_streams, join_features, match_features

RNG = np.random.default_rng(5)


def two(rgb: dict[str, int], audio: dict[str, int]) -> list[ArraySource]:
    return [ArraySource("rgb", random_videos(RNG, rgb)), ArraySource("audio", random_videos(RNG, audio, 2))]


def test_videos_are_joined_by_id_in_the_order_of_the_first_feature():
    sources = two({"b": 3, "a": 4, "c": 5}, {"c": 5, "a": 4, "b": 3})
    videos, lacking = join_features(sources, None)
    assert videos.ids == ["b", "a", "c"] and not lacking and videos.lengths.tolist() == [3, 4, 5]
    for row, id in enumerate(videos.ids):
        rgb, audio = videos.read(row)
        np.testing.assert_array_equal(rgb, sources[0].arrays[sources[0].ids.index(id)])
        np.testing.assert_array_equal(audio, sources[1].arrays[sources[1].ids.index(id)])
    taken = videos.take(np.array([2, 0]))
    assert taken.ids == ["c", "b"] and taken.where(0) == "rgb.npz, c"
    np.testing.assert_array_equal(taken.read(1)[1], videos.read(0)[1])


def test_videos_without_a_feature_are_told():
    videos, lacking = join_features(two(dict.fromkeys("abcdefg", 2), {"a": 2, "x": 2}), None)
    assert videos.ids == ["a"]
    assert lacking == [
        "6 videos with rgb and without audio: b, c, d, e, f, ...",
        "1 video with audio and without rgb: x",
    ]
    with pytest.raises(
        StageError, match=r"no video has all of rgb, audio: their ids differ\. rgb has a; audio has a\.wav"
    ):
        join_features(two({"a": 2}, {"a.wav": 2}), None)


@pytest.mark.parametrize(
    ("frames", "fits"), [((10, 12), True), ((10, 13), False), ((1000, 980), True), ((1000, 979), False)]
)
def test_a_little_is_cropped_and_more_is_refused(frames, fits):
    rgb, audio = frames
    sources = two({"a": 5, "b": rgb}, {"a": 5, "b": audio})
    if not fits:
        with pytest.raises(
            StageError, match=rf"of 1 video differ .* 'b' \(rgb.npz, b\): rgb {rgb}, audio {audio}\. --align crop"
        ):
            join_features(sources, None)
        return
    videos, _ = join_features(sources, None)
    assert [len(stream) for stream in videos.read(1)] == [min(frames)] * 2
    np.testing.assert_array_equal(videos.read(1)[0], sources[0].arrays[1][: min(frames)])
    with pytest.raises(StageError, match="differ in their numbers of frames"):
        join_features(sources, "refuse")


def test_what_does_not_match_is_told_of_each_video():
    sources = two({"a": 3, "b": 9, "c": 4}, {"b": 3, "a": 4, "d": 2})
    videos, alone, unequal = match_features(sources, None)
    assert videos.ids == ["a", "b"] and alone == {(0, 1): ["c"], (1, 0): ["d"]} and unequal.tolist() == [1]
    assert videos.frames_told(1) == "rgb 9, audio 3"
    assert match_features(sources, "refuse")[2].tolist() == [0, 1]
    assert not len(match_features(sources, "crop")[2]) and not len(match_features(sources, "resample")[2])


def test_streams_are_cropped_or_resampled_as_asked():
    sources = two({"a": 4}, {"a": 9})
    videos, _ = join_features(sources, "crop")
    assert [len(stream) for stream in videos.read(0)] == [4, 4]
    videos, _ = join_features(sources, "resample")
    rgb, audio = videos.read(0)
    np.testing.assert_array_equal(rgb, sources[0].arrays[0])
    np.testing.assert_array_equal(audio, sources[1].arrays[0][[1, 3, 5, 7]])  # the middles of quarters of 9 rows


@given(st.integers(1, 60), st.integers(1, 60))
def test_resampling_takes_the_row_that_holds_each_moment(rows, length):
    (stream,) = align_streams([np.arange(rows)], length, "resample")
    moments = (np.arange(length) + 0.5) / length
    assert (stream <= moments * rows + 1e-9).all() and (moments * rows < stream + 1 + 1e-9).all()


def test_a_file_that_changes_while_it_is_packed_is_noticed():
    source = ArraySource("rgb", random_videos(RNG, {"a": 4}), lengths={"a": 5})
    videos, _ = join_features([source], None)
    with pytest.raises(UnreadableFeature, match="changed while it was packed") as error:
        videos.read(0)
    assert error.value.where == "rgb.npz, a"
