"""Which of the files that are named hold pictures or sound, by their content."""

import shutil

import numpy as np
import pytest
from fixtures.clips import click, even, write_clip

from pipeline.config.errors import StageError
from pipeline.features.files import divided, find_media


@pytest.fixture
def folder(tmp_path):
    write_clip(tmp_path / "b.mkv", even(3))
    write_clip(tmp_path / "a.wav", None, sound=click(0.5, 0.1), sound_codec="pcm_s16le")
    write_clip(tmp_path / "odd.wmv", even(3), codec="wmv2")
    shutil.copyfile(tmp_path / "b.mkv", tmp_path / "no ending")
    np.save(tmp_path / "rgb.npy", np.ones((2, 2)))
    (tmp_path / "labels.csv").write_text("id,label\na,b\n")
    (tmp_path / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    return tmp_path


def test_a_folder_is_searched_by_content(folder):
    found, others = find_media([folder])
    assert [path.name for path in found] == ["a.wav", "b.mkv", "no ending", "odd.wmv"] and others == 2
    for named, message in (([folder / "labels.csv"], "neither moving"), ([folder / "x*"], "no such file")):
        with pytest.raises(StageError, match=message):
            find_media(named)


def test_videos_are_told_from_files_of_features(folder):
    media, others = divided([folder])
    assert [path.name for path in media] == ["a.wav", "b.mkv", "no ending", "odd.wmv"]
    assert others == [folder / "rgb.npy"]
    named = [folder / "rgb.npy", folder / "b.mkv", folder / "labels.csv", folder / "missing"]
    assert divided(named) == ([folder / "b.mkv"], [named[0], named[2], named[3]])
