"""JSON from anybody: every fault is a ValueError, and a field that is missing names the file."""

import math
from pathlib import Path

import pytest

from pipeline.artifacts.files import read_json
from pipeline.artifacts.stored_json import MissingField, parse_json
from pipeline.config.errors import StageError

FAULTS = {
    "html": b"<html>please log in</html>",
    "empty": b"",
    "deep": b'{"a":' * 200_000,
    "deep list": b"[" * 1_000_000,
    "digits": b'{"a": ' + b"9" * 5000 + b"}",
    "wide integer": b'{"a": ' + b"9" * 400 + b"}",
    "int64 + 1": b'{"a": 9223372036854775808}',
    "large float": b'{"a": -1e999}',
    "not utf-8": b'{"a": "\xff"}',
    "nul": b"\0" * 100,
}


@pytest.mark.parametrize("text", FAULTS.values(), ids=FAULTS)
def test_what_is_none_is_a_value_error_and_of_a_file_one_line(tmp_path, text):
    with pytest.raises(ValueError):
        parse_json(text)
    (tmp_path / "done.json").write_bytes(text)
    with pytest.raises(StageError, match=r"done\.json is not valid JSON .*; delete it and run the stage") as error:
        read_json(tmp_path / "done.json")
    assert len(str(error.value)) < 400 and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["[]", "1", "null", '"text"', "NaN"])
def test_what_is_no_object_is_refused(tmp_path, text):
    (tmp_path / "done.json").write_text(text)
    with pytest.raises(StageError, match=r"done\.json must hold a JSON object, and holds a"):
        read_json(tmp_path / "done.json")


def test_no_more_is_read_than_may_be(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.artifacts.files._LARGEST_JSON", 10)
    (tmp_path / "done.json").write_text("{}" + " " * 9)
    with pytest.raises(StageError, match=r"done\.json has more than"):
        read_json(tmp_path / "done.json")


def test_numbers_that_fit_are_as_they_were_and_nan_where_it_may_be():
    assert parse_json("[9223372036854775807, -9223372036854775808, 1e308, -0]") == [2**63 - 1, -(2**63), 1e308, 0]
    assert math.isnan(parse_json("NaN"))
    with pytest.raises(ValueError, match="NaN is not valid JSON"):
        parse_json("NaN", finite=True)


def test_a_field_that_is_missing_at_any_depth_names_the_file(tmp_path):
    values = parse_json('{"a": {"b": [{"c": 1}]}}', Path("x/config.json"))
    assert values["a"]["b"][0]["c"] == 1 and values.get("z") is None and values == {"a": {"b": [{"c": 1}]}}
    for missing in (lambda: values["z"], lambda: values["a"]["z"], lambda: values["a"]["b"][0]["z"]):
        with pytest.raises(MissingField, match=r"^x/config\.json lacks 'z'; delete it and run the stage"):
            missing()
