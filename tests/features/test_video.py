"""Frames at the right times: the number that is drawn into each picture is read back."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from fixtures.clips import HEIGHT, WIDTH, even, number_of, numbered, write_clip

from pipeline.features import as_needed, video
from pipeline.features.decoding import decode
from pipeline.features.media import Faults, UnreadableMedia, look_at
from pipeline.features.video import frames_at, is_turned, rgb_of

TIMES = even(76)
AVI = {"base": Fraction(1, 25)}
FORMS = {
    "h264.mp4": {},
    "open.mp4": {"options": {"x264-params": "keyint=12:bframes=3:open-gop=1:scenecut=0"}},
    "short.mkv": {"options": {"g": "10"}},
    "leap.mp4": {"options": {"x264-params": "keyint=4:bframes=2:open-gop=1:scenecut=0"}},
    "hevc10.mp4": {
        "codec": "libx265",
        "pixels": "yuv420p10le",
        "options": {"x265-params": "keyint=12:log-level=none:open-gop=1:bframes=3"},
    },
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"g": "15", "cpu-used": "8", "lag-in-frames": "10"}},
    "mpeg4.avi": {"codec": "mpeg4", **AVI},
    "h264.avi": AVI,
    "mjpeg.mov": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "ffv1.mkv": {"codec": "ffv1", "pixels": "yuv444p10le"},
    "gray.mkv": {"codec": "ffv1", "pixels": "gray"},
    "prores.mov": {"codec": "prores_ks", "pixels": "yuv422p10le"},
    "mpeg2.ts": {"codec": "mpeg2video", **AVI},
    "h264.flv": {},
    "interlaced.mkv": {"options": {"x264-params": "interlaced=1"}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


def numbers(path: Path, fps: float, faults: Faults | None = None) -> list[int]:
    """The numbers in the pictures at k / fps."""
    found: dict[int, int] = {}
    for picked in frames_at(path, look_at(path).start, Fraction(fps), 1, faults or Faults()):
        assert list(picked.numbers) == list(range(len(found), len(found) + len(picked.numbers)))
        found |= dict.fromkeys(picked.numbers, number_of(rgb_of(picked.frame)))
    return list(found.values())


@pytest.mark.parametrize("name", FORMS)
def test_frames_are_those_nearest_to_their_times(name, folder):
    path = write_clip(folder / name, TIMES, **FORMS[name])
    for fps in (1, 2.5, 8):
        faults = Faults()
        got = numbers(path, fps, faults)
        assert len(got) == -int(-len(TIMES) / 25 * fps // 1) and not faults.told
        assert all(abs(TIMES[number] - k / Fraction(fps)) <= Fraction(1, 50) for k, number in enumerate(got))


@pytest.mark.parametrize(
    "name", ["h264.mp4", "open.mp4", "leap.mp4", "short.mkv", "hevc10.mp4", "vp9.webm", "mjpeg.mov", "mpeg2.ts"]
)
@pytest.mark.parametrize("fps", [Fraction(1), Fraction(1, 2), Fraction(5)])
def test_what_is_decoded_as_needed_has_the_bytes_of_what_is_decoded_as_a_whole(name, fps, folder):
    path = folder / name
    if not path.exists():
        write_clip(path, TIMES, **FORMS[name])
    start = look_at(path).start
    ways = [
        [(list(each.numbers), rgb_of(each.frame).tobytes()) for each in way(path, start, fps, 1, Faults())]
        for way in (as_needed.decoded_as_needed, video._decoded_all)
    ]
    assert ways[0] == ways[1]


def test_groups_without_a_needed_frame_are_not_decoded(folder, monkeypatch):
    path = write_clip(folder / "many.mov", TIMES, **FORMS["mjpeg.mov"])
    fed, read = [], []
    decoded, packets_of = as_needed.decoded, as_needed.packets_of

    def reading(*each):
        for packet in packets_of(*each):
            read.append(packet)
            yield packet

    monkeypatch.setattr(as_needed, "decoded", lambda *each: fed.append(each[1]) or decoded(*each))
    monkeypatch.setattr(as_needed, "packets_of", reading)
    assert numbers(path, 1) == [0, 25, 50, 75]
    assert sum(each is not None for each in fed) == 4
    assert len(read) < 30, "and not read, where an index leads past them"


def test_a_picture_stands_until_the_next_one(folder):
    times = [0, 0.04, 0.08, 3.0, 3.1, 7.52, 7.6, 8.0]
    assert numbers(write_clip(folder / "vfr.mkv", times), 1) == [0, 2, 2, 3, 4, 4, 4, 4, 7]


def test_before_the_first_frame_it_is_taken(folder):
    path = write_clip(folder / "late.mp4", even(30, start=1), sound=np.zeros(16_000 * 2, np.float32))
    assert numbers(path, 2) == [0, 0, 0, 12, 25]


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_pictures_are_turned_upright(rotation, folder):
    def lying(number: int) -> np.ndarray:
        upright = numbered(number, HEIGHT, WIDTH) if rotation % 180 else numbered(number)
        return np.ascontiguousarray(np.rot90(upright, -rotation // 90))

    path = write_clip(folder / f"turned{rotation}.mp4", even(30), rotation=rotation, pictures=lying)
    assert numbers(path, 1) == [0, 25]
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
    assert rgb_of(frame).shape == ((WIDTH, HEIGHT, 3) if rotation % 180 else (HEIGHT, WIDTH, 3))
    assert is_turned(frame) == bool(rotation % 180)


def test_of_interlaced_pictures_one_field_is_seen(folder):
    def combed(number: int) -> np.ndarray:
        picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        picture[1::2] = 255
        return picture

    for params, spread in (("interlaced=1:qp=0", 0), ("qp=0", 127)):
        path = folder / "combed.mkv"
        write_clip(path, even(3), pixels="yuv444p", pictures=combed, options={"x264-params": params})
        with av.open(str(path)) as file:
            frame = next(file.decode(video=0))
        assert frame.interlaced_frame == (not spread)
        assert rgb_of(frame).std() == pytest.approx(spread, abs=5)


@pytest.mark.parametrize("part", range(20))
@pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv", "cut.ts"])
def test_of_a_truncated_file_is_read_what_is_there(name, part, folder):
    whole = folder / name
    if not whole.exists():
        options = {"movflags": "faststart"} if name.endswith("mp4") else {}
        write_clip(whole, TIMES, options={"g": "20"}, container=options)
    path = folder / f"{part}.{name}"
    path.write_bytes(whole.read_bytes()[: len(whole.read_bytes()) * (part + 1) // 21])
    faults = Faults()
    try:
        got = numbers(path, 5, faults)
    except ValueError as error:  # UnreadableMedia: not even its header
        assert part < 10 and str(error)
        return
    exact = [5 * k for k in range(len(got))]
    assert faults.told or (got[:-1] == exact[:-1] and abs(got[-1] - exact[-1]) <= 1), got
    assert name == "cut.ts" or len(got) >= 15 or faults.told, "a stream has no length that could be missed"


def test_damage_within_a_file_is_told_and_the_rest_is_read(folder):
    path = write_clip(folder / "hurt.mp4", TIMES, options={"g": "20"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 150] = np.random.default_rng(0).integers(0, 256, 150, np.uint8).tobytes()
    path.write_bytes(data)
    faults = Faults()
    got = numbers(path, 5, faults)
    assert faults.told, got
    assert len(got) == 16 and got[0] == 0 and got[-1] == 75


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (av.error.InterruptedError(4, "refused"), None),
        (av.error.FFmpegError(24, "refused"), OSError),
        (av.error.FFmpegError(5, "refused"), UnreadableMedia),
    ],
)
def test_an_opening_that_a_signal_interrupts_is_tried_again_and_no_more_files_is_no_damage(error, kind, folder):
    """The first call of FFmpeg fails."""
    path, really = write_clip(folder / "opened.mp4", even(8)), av.open
    answers = [error, error] if kind else [error]

    def opened(*arguments, **named):
        if answers:
            raise answers.pop()
        return really(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(av, "open", opened)
        if kind is None:
            assert look_at(path).has_video and not answers
            return
        with pytest.raises(kind, match="refused"):
            look_at(path)
        if kind is OSError:
            with pytest.raises(kind, match="refused"):
                list(decode([], Fraction(1), 1, path))
        else:
            assert "refused" in next(decode([], Fraction(1), 1, path)).fault
