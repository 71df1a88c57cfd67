"""Windows of sound at the times of frames: a click beside a flash, from mono to 5.1."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from fixtures.clips import HEIGHT, WIDTH, click, even, write_clip

from pipeline.features.audio import windows_at
from pipeline.features.media import Faults, look_at
from pipeline.features.video import frames_at, rgb_of

RATE, AT = 16_000, 1.52
AVI = {"base": Fraction(1, 25)}
FORMS = {
    "mono.mp4": {},
    "stereo.mp4": {"sound_rate": 44_100, "layout": "stereo"},
    "surround.mkv": {"sound_rate": 48_000, "layout": "5.1"},
    "opus.webm": {"sound_codec": "libopus", "sound_rate": 48_000, "codec": "libvpx", "layout": "stereo"},
    "mp3.mp4": {"sound_codec": "libmp3lame", "sound_rate": 44_100, "layout": "stereo"},
    "pcm.mov": {"sound_codec": "pcm_s16le", "sound_rate": 22_050},
    "pcm.avi": {"sound_codec": "pcm_s16le", "codec": "mpeg4", **AVI},
    "mp2.ts": {"sound_codec": "mp2", "codec": "mpeg2video", "sound_rate": 48_000, **AVI},
    "late.mkv": {"sound_at": 1.0},
}
SOUNDS = {
    "a.wav": "pcm_s16le",
    "a.mp3": "libmp3lame",
    "a.flac": "flac",
    "a.ogg": "libopus",
    "a.m4a": "aac",
}


def heard(path: Path, faults: Faults, rate: int = RATE) -> np.ndarray:
    """The whole sound, from windows that follow each other."""
    windows = windows_at(path, look_at(path).start, Fraction(1), rate, rate, 0, None, faults)
    return np.concatenate([each[0] for each in windows])


def onset(sound: np.ndarray) -> float:
    return float(np.argmax(np.abs(sound) > 0.1 * np.abs(sound).max()) / RATE)


@pytest.mark.parametrize("name", FORMS)
def test_a_click_beside_a_flash_is_heard_when_the_flash_is_seen(name, tmp_path):
    def flash(number: int) -> np.ndarray:
        return np.full((HEIGHT, WIDTH, 3), 255 if number == AT * 25 else 0, np.uint8)

    form = FORMS[name]
    rate, late = form.get("sound_rate", RATE), form.get("sound_at", 0)
    path = write_clip(tmp_path / name, even(60), pictures=flash, sound=click(2.4 - late, AT - late, rate), **form)
    faults = Faults()
    sound = heard(path, faults)
    frames = frames_at(path, look_at(path).start, Fraction(25), 1, faults)
    seen = [number for numbers, frame in frames for number in numbers if rgb_of(frame).mean() > 128]
    assert abs(onset(sound) - seen[0] / 25) < 0.02 and np.abs(sound).max() < 1.2 and not faults.told


@pytest.mark.parametrize("name", SOUNDS)
def test_files_of_sound_alone(name, tmp_path):
    path = write_clip(tmp_path / name, None, sound=click(2.4, AT, 48_000), sound_codec=SOUNDS[name], sound_rate=48_000)
    faults = Faults()
    sound = heard(path, faults)
    assert abs(onset(sound) - AT) < 0.02 and len(sound) == 3 * RATE and not faults.told


def test_windows_begin_at_the_times_of_frames_and_are_filled_up_with_silence(tmp_path):
    sound = np.linspace(-0.5, 0.5, 4 * 800).astype(np.float32)
    path = write_clip(tmp_path / "a.wav", None, sound=sound, sound_codec="pcm_f32le", sound_rate=800)
    for hop, starts in ((0, [0]), (0.2, [0, 160, 320]), (0.25, [0, 200])):
        windows = list(windows_at(path, Fraction(0), Fraction(2), 800, 720, hop, None, Faults()))
        assert len(windows) == 8
        padded = np.concatenate([sound, np.zeros(2000, np.float32)])
        for number, each in enumerate(windows):
            expected = [padded[400 * number + start : 400 * number + start + 720] for start in starts]
            np.testing.assert_allclose(each, expected, atol=1e-6)
    assert len(list(windows_at(path, Fraction(0), Fraction(2), 800, 720, 0, 11, Faults()))) == 11


def test_a_gap_in_the_sound_is_silence_and_an_overlap_is_cut(tmp_path):
    import av

    path = tmp_path / "gap.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for start in (0, 0.5, 1.5, 1.9):  # each half a second: a gap from 1 to 1.5, an overlap at 1.9
            frame = av.AudioFrame.from_ndarray(np.full((1, RATE // 2), 3000, np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, round(start * RATE), Fraction(1, RATE)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    sound = heard(path, Faults())
    assert np.abs(sound[: RATE - 100]).min() > 0.09 and np.abs(sound[RATE + 100 : RATE * 3 // 2 - 100]).max() < 0.001
    end = np.flatnonzero(np.abs(sound) > 0.05)[-1] / RATE
    assert end == pytest.approx(2.4, abs=0.01)
    assert np.abs(sound[RATE * 3 // 2 + 100 : round(RATE * 2.4) - 100]).min() > 0.09


def test_truncated_sound_is_read_as_far_as_it_goes(tmp_path):
    sound = click(9, 0.2) + np.random.default_rng(0).normal(0, 0.001, 9 * RATE).astype(np.float32)
    whole = write_clip(tmp_path / "a.flac", None, sound=sound, sound_codec="flac")
    cut = tmp_path / "cut.flac"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    faults = Faults()
    sound = heard(cut, faults)
    assert abs(onset(sound) - 0.2) < 0.02 and 5 * RATE <= len(sound) <= 7 * RATE
    assert "of 9.0 s: it is cut off" in str(faults)
