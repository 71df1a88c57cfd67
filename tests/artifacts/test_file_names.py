"""Names of files from ids of any kind."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifacts.file_names import FileNames


def test_plain_ids_are_their_names():
    names = FileNames()
    assert [names.of(id, ".vtt") for id in ("a-1", "Tür 3.mp4", "x/../y", "..", "", "a-1", "A-1")] == [
        *("a-1.vtt", "Tür_3.mp4.vtt", "x_.._y.vtt", "_.vtt"),
        *("_-2.vtt", "a-1-2.vtt", "A-1-3.vtt"),
    ]


@given(st.lists(st.text(max_size=300)))
def test_all_differ_and_stay_in_their_folder(ids):
    names = FileNames()
    found = [names.of(id, ".html") for id in ids]
    assert len({name.casefold() for name in found}) == len(ids)
    for name in found:
        assert "/" not in name and "\0" not in name and not name.startswith((".", "-")) and len(name.encode()) < 200
