"""Temporary names: made from final ones, and read."""

from pathlib import Path

import pytest

from pipeline.artifacts.temporary import TemporaryName, final_path


def test_a_new_name_says_what_it_is_of_and_no_other_one_is_equal():
    names = {str(TemporaryName.new("a.csv")) for _ in range(100)}
    assert len(names) == 100
    for name in names:
        found = TemporaryName.of(name)
        assert (found.final, found.old, found.lock, str(found)) == ("a.csv", False, False, name)
        assert TemporaryName.of(f".{name}.lock") == found._replace(lock=True)


@pytest.mark.parametrize(
    "name, final",
    [
        (".a.csv.123.part", "a.csv"),
        (".a.csv.123.part.keras", "a.csv"),
        (".a.123.old.part", "a"),
        (".a.x0123abcd.old.part", "a"),
        ("..hidden.x0123abcd.part", ".hidden"),
        (".a.part", None),
        ("a.123.part", None),
        (".a.xyz.part", None),
        (".a.lock", None),
        ("x0123abcd.part", None),
    ],
)
def test_what_a_name_is_of(name, final):
    found = TemporaryName.of(name)
    assert (found and found.final) == final


def test_a_path_as_a_user_knows_it():
    path = Path("data/.index.x0123abcd.part/..dataset.json.x89abcdef.part.lock")
    assert final_path(path) == Path("data/index/dataset.json")
    assert final_path("/data/raw/a.part") == Path("/data/raw/a.part")
