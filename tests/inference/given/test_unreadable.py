"""What cannot be read is named up to a number for each reason, and counted to the end."""

import pytest

from pipeline.config.errors import StageError
from pipeline.inference.given.unreadable import Unreadable
from pipeline.inputs.reading.own_records import UnreadableVideo


def test_the_first_of_each_reason_are_named_and_all_are_counted(capsys):
    unreadable = Unreadable()
    for number in range(23):
        unreadable.tell(UnreadableVideo(f"a{number}", "it is empty"))
    for number in range(20):
        unreadable.tell(UnreadableVideo(f"b{number}", "it is torn"))
    assert capsys.readouterr().err.count("\n") == 40
    with pytest.raises(StageError, match=r"43 of 50 videos or files could not be read: .* The model needs rgb"):
        unreadable.end(7, ["c: the end is lost"], "rgb")
    assert capsys.readouterr().err.splitlines() == ["and 3 more: it is empty", "c: the end is lost"]


def test_damaged_files_are_an_error_where_all_could_be_read(capsys):
    Unreadable().end(2, [], "rgb")
    with pytest.raises(StageError, match=r"^1 file is damaged: see above; copy or make them again"):
        Unreadable().end(2, ["c: the end is lost"], "rgb")
    assert capsys.readouterr().err == "c: the end is lost\n"
