"""The file of answers: whole or not at all, gone on with, and kept up to date."""

import json
import os

import pytest

from pipeline.config.errors import StageError
from pipeline.inference.answers.answer_file import answer_file
from pipeline.inference.given.videos import OwnVideo


def video(path, entry="", id=None):
    if not path.exists():
        path.write_text(path.name)
    return OwnVideo(id or path.stem, str(path), ((path, entry),), lambda: None)


def write(folder, *videos, model="m", go_on=True, label=0):
    """What the file holds afterwards, which videos were predicted, and what was dropped."""
    with answer_file(folder / "out.jsonl", model, go_on=go_on) as answers:
        new = [each.id for each in videos if not answers.has(each)]
        for each in videos:
            if each.id in new:
                answers.add(each, {"labels": [{"label": label, "name": "ü", "score": 0.5}]})
            else:
                answers.keep(each)
        dropped = answers.write()
    assert not (folder / ".out.jsonl.journal").exists() and not (folder / ".out.jsonl.lock").exists()
    return [json.loads(line) for line in (folder / "out.jsonl").read_text(encoding="utf-8").splitlines()], new, dropped


def test_a_line_says_what_it_was_made_of(tmp_path):
    (line,), _, _ = write(tmp_path, video(tmp_path / "a.npz", "row 3", "ключ\udcff"))
    status = (tmp_path / "a.npz").stat()
    source = {"file": f"{tmp_path}/a.npz", "entry": "row 3", "size": status.st_size, "mtime": status.st_mtime_ns}
    labels = [{"label": 0, "name": "ü", "score": 0.5}]
    assert line == {"id": "ключ\udcff", "labels": labels, "sources": [source], "model": "m"}
    assert list(line) == ["id", "labels", "sources", "model"]


def test_only_what_changed_is_predicted_and_the_file_is_as_if_all_were(tmp_path):
    a, b, c = (video(tmp_path / f"{name}.npy") for name in "abc")
    assert write(tmp_path, a, b)[1] == ["a", "b"]
    lines, new, dropped = write(tmp_path, c, b, a, label=1)
    assert new == ["c"] and not dropped
    assert [(line["id"], line["labels"][0]["label"]) for line in lines] == [("c", 1), ("b", 0), ("a", 0)]
    os.utime(tmp_path / "b.npy", ns=(1, 1))
    assert write(tmp_path, a, b, c)[1:] == (["b"], [])
    (tmp_path / "b.npy").write_text("longer than before")
    os.utime(tmp_path / "b.npy", ns=(1, 1))
    assert write(tmp_path, a, b, c)[1] == ["b"]
    assert write(tmp_path, a, b._replace(id="other"), c)[1] == ["other"]
    assert write(tmp_path, a._replace(places=((tmp_path / "a.npy", "row 1"),)))[1] == ["a"]
    assert write(tmp_path, a, model="another")[1] == ["a"]
    assert write(tmp_path, a, model="another", go_on=False, label=7) == (
        write(tmp_path, a, model="another")[0],
        ["a"],
        [],
    )


def test_what_is_gone_is_dropped_and_told(tmp_path):
    videos = [video(tmp_path / f"{number}.npy") for number in range(8)]
    write(tmp_path, *videos)
    for number in range(6):
        (tmp_path / f"{number}.npy").unlink()
    lines, new, dropped = write(tmp_path, videos[7])
    assert [line["id"] for line in lines] == ["7"] and not new
    assert dropped == [
        "6 videos whose files are gone: 0, 1, 2, 3, 4, ...",
        "1 video that the files named now do not hold, or not whole: 6",
    ]


def test_an_interrupted_command_leaves_the_file_and_is_gone_on_with(tmp_path):
    a, b, c = (video(tmp_path / f"{name}.npy") for name in "abc")
    write(tmp_path, a)
    before = (tmp_path / "out.jsonl").read_bytes()
    with pytest.raises(KeyboardInterrupt), answer_file(tmp_path / "out.jsonl", "m", go_on=True) as answers:
        answers.keep(a)
        answers.add(b, {"labels": []})
        answers.add(c, {"labels": []})
        raise KeyboardInterrupt
    assert (tmp_path / "out.jsonl").read_bytes() == before
    journal = tmp_path / ".out.jsonl.journal"
    journal.write_bytes(journal.read_bytes()[:-5])  # as a kill in the middle of a line
    lines, new, _ = write(tmp_path, c, b, a)
    assert new == ["c"] and [line["id"] for line in lines] == ["c", "b", "a"]


def test_without_going_on_nothing_is_kept(tmp_path):
    a, b = (video(tmp_path / f"{name}.npy") for name in "ab")
    write(tmp_path, a)
    with pytest.raises(KeyboardInterrupt), answer_file(tmp_path / "out.jsonl", "m", go_on=True) as answers:
        answers.add(b, {"labels": []})
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), answer_file(tmp_path / "out.jsonl", "m", go_on=False) as answers:
        raise KeyboardInterrupt
    assert write(tmp_path, a, b)[1] == ["b"]  # the journal of the command before is not
    assert write(tmp_path, a, b, go_on=False)[1:] == (["a", "b"], [])


@pytest.mark.parametrize("content", ["a thesis", "{}", '{"id": 1, "sources": [], "model": "m"}', "[" * 100_000, "\n"])
def test_nothing_else_is_replaced(content, tmp_path):
    (tmp_path / "out.jsonl").write_text(content)
    for go_on in (True, False):
        with pytest.raises(StageError, match=r"out.jsonl, line 1: predict has not written this, and would replace it"):
            write(tmp_path, video(tmp_path / "a.npy"), go_on=go_on)
    assert (tmp_path / "out.jsonl").read_text() == content
    with pytest.raises(StageError, match="is a folder: name a file in it"), answer_file(tmp_path, "m", go_on=True):
        pass


def test_two_commands_do_not_write_one_file(tmp_path):
    with (
        answer_file(tmp_path / "out.jsonl", "m", go_on=True),
        pytest.raises(StageError, match="another process is at work"),
        answer_file(tmp_path / "out.jsonl", "m", go_on=True),
    ):
        pass
