"""What lies beside data and is none, and what only looks like it."""

import pytest

from pipeline.artifacts.hidden import is_hidden, visible


@pytest.mark.parametrize(
    "path",
    [
        "._a.tfrecord",
        ".DS_Store",
        ".ipynb_checkpoints/a.tfrecord",
        "__MACOSX/train/a.tfrecord",
        "train/@eaDir/a.tfrecord",
        "#recycle/a.tfrecord",
        "#snapshot/a",
        "$RECYCLE.BIN/a",
        "System Volume Information",
        "lost+found",
        "Icon\r",
        "a.tfrecord~",
        "#a.tfrecord#",
        "~$a.tfrecord",
        "...",
    ],
)
def test_what_systems_lay_beside_files_is_hidden(path):
    assert is_hidden(path)


@pytest.mark.parametrize(
    "path", ["a.tfrecord", "#1.tfrecord", "~a", "a/../b", "./a", "@a", "_a", "-a", "a.tmp/b", "é", "Icon"]
)
def test_everything_else_is_data(path):
    assert not is_hidden(path)


def test_only_what_is_below_the_listed_folder_counts(tmp_path):
    folder = tmp_path / ".hidden" / "@eaDir"
    for name in ("a", "._a", ".git/b", "c/d", "c/@eaDir/d"):
        path = folder / f"{name}.tfrecord"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    names = {path.relative_to(folder).as_posix() for path in visible(folder, "**/*.tfrecord")}
    assert names == {"a.tfrecord", "c/d.tfrecord"}
