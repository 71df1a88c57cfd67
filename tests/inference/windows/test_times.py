"""Windows of a video: from seconds to frames, all of the video seen, every moment told of by one window."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import ConfigError
from pipeline.inference.windows.times import WindowSettings


def test_windows_in_seconds():
    windows = WindowSettings(10, 5).of(32)
    assert windows.starts.tolist() == [0, 5, 10, 15, 20, 22] and windows.length == 10
    assert windows.middles().tolist() == [5, 10, 15, 20, 25, 27]
    assert windows.edges().tolist() == [0, 7.5, 12.5, 17.5, 22.5, 26, 32]
    half = WindowSettings(2.5, 1, fps=2).of(12)
    assert half.starts.tolist() == [0, 2, 4, 6, 7] and half.length == 5
    assert half.middles().tolist() == [1.25, 2.25, 3.25, 4.25, 4.75] and half.seconds == 6


def test_one_of_window_and_every_says_the_other():
    assert WindowSettings(10, None).step == 5 and WindowSettings(None, 5).length == 10
    assert WindowSettings(None, 0.5, fps=2).length == 2


def test_a_short_video_is_one_window():
    windows = WindowSettings(10, 5).of(3)
    assert windows.starts.tolist() == [0] and windows.length == 3 and windows.edges().tolist() == [0, 3]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 300))
def test_every_frame_is_seen_and_every_moment_told_of_once(length, step, num_frames):
    step = min(step, length)
    windows = WindowSettings(length, step).of(num_frames)
    seen = windows.starts[:, None] + np.arange(windows.length)
    assert set(seen.ravel().tolist()) == set(range(num_frames))
    edges = windows.edges()
    assert edges[0] == 0 and edges[-1] == num_frames and (np.diff(edges) > 0).all()
    assert ((edges[:-1] <= windows.middles()) & (windows.middles() <= edges[1:])).all()


def test_what_has_no_frame_or_leaves_frames_out_is_refused():
    with pytest.raises(
        ConfigError, match=r"--window of 0.2 seconds is less than a frame at --fps 1: give at least 1 s"
    ):
        WindowSettings(0.2, 5)
    with pytest.raises(ConfigError, match=r"--every of 0.5 seconds is less than a frame"):
        WindowSettings(1, None)
    with pytest.raises(ConfigError, match=r"--every 6 is longer than --window 5"):
        WindowSettings(5, 6)
