"""Small pictures of a video, by the numbers drawn into them; none of what has no pictures."""

import io

import numpy as np
import pytest
from fixtures.clips import click, even, number_of, numbered, write_clip
from PIL import Image

from pipeline.features import thumbnails as module
from pipeline.features.thumbnails import thumbnails


def test_they_are_spread_over_the_video(tmp_path, monkeypatch):
    write_clip(tmp_path / "a.mp4", even(40, 10))
    found = thumbnails(tmp_path / "a.mp4")
    assert [time for time, _ in found] == [0.5, 1.5, 2.5, 3.5]
    pictures = [Image.open(io.BytesIO(picture)) for _, picture in found]
    assert {picture.height for picture in pictures} == {240} and {picture.format for picture in pictures} == {"JPEG"}
    whole = numbered(0)
    back = [np.asarray(picture.resize(whole.shape[1::-1])) for picture in pictures]
    assert [number_of(picture) for picture in back] == [5, 15, 25, 35]
    monkeypatch.setattr(module, "_MOST", 2)
    assert [time for time, _ in thumbnails(tmp_path / "a.mp4")] == pytest.approx([1, 3], abs=0.06)


def test_there_are_none_without_pictures(tmp_path):
    write_clip(tmp_path / "a.m4a", None, sound=click(2, 1))
    (tmp_path / "b.mp4").write_bytes(b"no video")
    assert thumbnails(tmp_path / "a.m4a") == thumbnails(tmp_path / "b.mp4") == thumbnails(tmp_path / "c.mp4") == []
