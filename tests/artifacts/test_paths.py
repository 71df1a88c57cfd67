"""Paths as people write them: home folders, variables that are empty, names that no file system takes."""

import os
import pwd
from pathlib import Path

import pytest

from pipeline.artifacts.paths import expand_home, folder_of_variable, path_of
from pipeline.config import ConfigError


def test_a_tilde_is_a_home_folder_where_it_begins_a_path(monkeypatch):
    monkeypatch.setenv("HOME", "/homes/me")
    assert path_of("~") == Path("/homes/me")
    assert path_of("~/a b/c") == Path("/homes/me/a b/c")
    user = pwd.getpwuid(os.getuid())
    assert path_of(f"~{user.pw_name}/x") == Path(user.pw_dir, "x")
    for text in ("a", "/a/~b", "./~", "a~", "gs://bucket/~x", "é"):
        assert expand_home(text) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("~nobody-such/x", r"~nobody-such/x: there is no home folder ~nobody-such; .* write \./~nobody-such/x"),
        ("", "a path is empty"),
        ("a/" + "é" * 128, "a name in this path has more than 255 bytes"),
    ],
)
def test_what_can_be_no_path_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        path_of(text)


def test_a_variable_holds_a_path_and_an_empty_one_none(monkeypatch):
    monkeypatch.delenv("PIPELINE_DATA", raising=False)
    assert folder_of_variable("PIPELINE_DATA", "data") == Path("data")
    for value, expected in (("", "data"), ("~/x", "/homes/me/x"), ("y", "y")):
        monkeypatch.setenv("HOME", "/homes/me")
        monkeypatch.setenv("PIPELINE_DATA", value)
        assert folder_of_variable("PIPELINE_DATA", "data") == Path(expected)
    monkeypatch.setenv("PIPELINE_DATA", "~nobody-such")
    with pytest.raises(ConfigError, match=r"\$PIPELINE_DATA: ~nobody-such: there is no home folder"):
        folder_of_variable("PIPELINE_DATA", "data")
