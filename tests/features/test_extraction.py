"""Features of many files at once: the same as of each alone, whoever decodes."""

from fractions import Fraction

import numpy as np
import pytest
from fixtures.backbones import tiny_pictures, tiny_sound
from fixtures.clips import click, even, write_clip

from pipeline.features import decoding
from pipeline.features.audio import windows_at
from pipeline.features.extraction import extract
from pipeline.features.finding import choose_backbones
from pipeline.features.networks import Network


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for number in range(4):
        times = even(5 + 3 * number, 4)
        write_clip(folder / f"{number}.mkv", times, rate=4, sound=click(len(times) / 4, 0.3), sound_codec="pcm_s16le")
    write_clip(folder / "4.mkv", even(6, 4), rate=4)
    write_clip(folder / "5.wav", None, sound=click(3.5, 0.3), sound_codec="pcm_s16le")
    (folder / "6.mkv").write_bytes((folder / "0.mkv").read_bytes()[:100])
    return folder


@pytest.fixture
def networks(tmp_path) -> list[Network]:
    paths = [tiny_pictures(tmp_path / "a.onnx"), tiny_sound(tmp_path / "b.onnx", hop=0.25)]
    return [Network(each.backbone, each.path, 1) for each in choose_backbones(map(str, paths), [], tmp_path)]


def features(folder, networks, numbers, workers=1) -> dict:
    paths = [next(folder.glob(f"{number}.*")) for number in numbers]
    return {numbers[each.number]: each for each in extract(paths, networks, Fraction(2), workers)}


@pytest.mark.parametrize("way", ["two processes", "backwards", "batches of one", "not steady"])
def test_features_do_not_depend_on_what_else_is_extracted(way, folder, networks):
    alone = {number: features(folder, networks, [number])[number] for number in range(7)}
    if way == "not steady":
        networks[0].steady = False
    numbers = list(reversed(range(7))) if way == "backwards" else list(range(7))
    if way == "batches of one":
        networks[1].batch = 1
    together = features(folder, networks, numbers, workers=2 if way == "two processes" else 1)
    assert together.keys() == alone.keys()
    for number, one in alone.items():
        other = together[number]
        assert one.end == other.end
        for ours, theirs in zip(one.features, other.features):
            assert (ours is None) == (theirs is None)
            if ours is not None:
                exact = way != "batches of one"
                assert ours.shape == theirs.shape
                assert np.array_equal(ours, theirs) if exact else np.allclose(ours, theirs, atol=1e-5)


def test_what_a_file_lacks_is_none(folder, networks):
    found = features(folder, networks, [3, 4, 5, 6])
    shapes = {number: [each is not None and each.shape for each in one.features] for number, one in found.items()}
    assert shapes == {3: [(7, 6), (7, 4)], 4: [(3, 6), False], 5: [False, (7, 4)], 6: [False, False]}
    assert found[6].end.fault.startswith("it cannot be opened") and not found[4].end.fault


def test_a_picture_that_stands_is_computed_once_for_all_its_frames(folder, networks, monkeypatch):
    (once,) = extract([folder / "4.mkv"], networks[:1], Fraction(4), 1)
    seen = []
    monkeypatch.setattr(
        networks[0], "_compute", lambda each, run=networks[0]._compute: seen.append(len(each)) or run(each)
    )
    (twice,) = extract([folder / "4.mkv"], networks[:1], Fraction(16), 1)
    assert sum(seen) == 6 and len(twice.features[0]) == 24
    assert {tuple(row) for row in twice.features[0]} == {tuple(row) for row in once.features[0]}


def test_what_breaks_off_is_told_and_the_other_features_are_as_short(folder, networks, monkeypatch):
    def breaking(*arguments):
        for number, windows in enumerate(windows_at(*arguments)):
            if number == 4:
                raise ValueError("odd layout")
            yield windows

    monkeypatch.setattr(decoding, "windows_at", breaking)
    monkeypatch.setattr(decoding, "_PIECE", 1)
    found = features(folder, networks, [3, 2])
    assert [len(each) for each in found[3].features] == [4, 4] and found[3].end.frames == 4
    assert found[3].end.fault == "it cannot be decoded (ValueError: odd layout)"


@pytest.mark.long
def test_three_hours_take_no_more_memory_than_a_minute(folder, networks, tmp_path):
    """Pieces are handed on as they come; frames that are not needed are not decoded."""
    import resource

    times, sound = even(3 * 3600 * 2, 2), np.zeros(3 * 3600 * 8000, np.float32)
    path = write_clip(tmp_path / "long.mkv", times, rate=2, options={"g": "20"}, sound=sound, sound_rate=8000)
    del sound
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (found,) = extract([path], networks, Fraction(1), 1)
    assert [len(each) for each in found.features] == [10_800, 10_800] and not found.end.fault
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


def test_windows_of_a_frame_are_averaged(folder, networks, tmp_path):
    (chosen,) = choose_backbones([str(tiny_sound(tmp_path / "c.onnx"))], [], tmp_path)
    first = Network(chosen.backbone, chosen.path, 1)
    (one,) = extract([folder / "5.wav"], [networks[1]], Fraction(2), 1)
    (other,) = extract([folder / "5.wav"], [first], Fraction(4), 1)
    np.testing.assert_allclose(one.features[0], other.features[0].reshape(7, 2, 4).mean(axis=1), atol=1e-6)
