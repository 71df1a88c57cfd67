"""Ids that match, against a slow form, and what is told of those that nearly do."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.packing.labels.id_column import find_id_column, videos_of
from pipeline.packing.labels.matching import match_ids
from pipeline.packing.tables.table import read_table

IDS = st.lists(st.text(st.sampled_from("aA0.7/é \u0301日"), min_size=1, max_size=5), max_size=8)
RULES = {
    "suffix": lambda id: re.sub(r"\.[A-Za-z0-9]{1,5}\Z", "", id),
    "folder": lambda id: re.sub(r"^.*[/\\]", "", id, flags=re.S),
    "case": str.lower,
    "spaces": str.strip,
    "Unicode": lambda id: unicodedata.normalize("NFC", id),
}


@given(features=IDS, table=IDS)
def test_ids_are_counted_as_a_slow_form_counts_them(features, table):
    matches = match_ids(features, table)
    ours, theirs = dict.fromkeys(features), dict.fromkeys(table)
    assert matches.matched == len([id for id in ours if id in theirs])
    lacking, extra = [id for id in ours if id not in theirs], [id for id in theirs if id not in ours]
    assert (matches.features_only, matches.table_only) == (len(lacking), len(extra))
    assert (matches.first_features, matches.first_table) == (lacking[:5], extra[:5])
    near = {(miss.written, miss.wanted) for miss in matches.near}
    assert near <= {(written, wanted) for written in extra for wanted in lacking}
    pairs = {rule: slow_pairs(alike, lacking, extra) for rule, alike in RULES.items()}
    if any(pairs.values()):
        assert near
    if any(len(found) == min(len(lacking), len(extra)) for found in pairs.values() if found):
        assert matches.remedy


def slow_pairs(alike, features, table):
    """What is alike, once on each side."""
    sides = [[alike(id) for id in side] for side in (features, table)]
    return [
        (written, wanted)
        for written in table
        for wanted in features
        if alike(written) == alike(wanted) and all(side.count(alike(written)) == 1 for side in sides)
    ]


@pytest.mark.parametrize(
    ("wanted", "written", "difference"),
    [
        ("a1", "a1.wav", "without the suffix '.wav'"),
        ("17", "17.0", "without the suffix '.0'"),
        ("a1.wav", "a1", "with the suffix '.wav'"),
        ("a1.npy", "a1.mp4", "with the suffix '.npy' in place of '.mp4'"),
        ("a1", "audio/x/a1", "without the folder 'audio/x/'"),
        ("a1", "C:\\audio\\a1", "without the folder 'C:\\\\audio\\\\'"),
        ("x/a1", "a1", "with the folder 'x/'"),
        ("x/a1", "y/a1", "with the folder 'x/' in place of 'y/'"),
        ("a1", "x/a1.mp4", "without the folder 'x/' and without the suffix '.mp4'"),
        ("a1", "A1", "in other case"),
        ("a1", " a1 ", "without the spaces around them"),
        ("007", "7", "with other leading zeros"),
        ("v_7", "v_007", "with other leading zeros"),
        ("caf\u00e9", "cafe\u0301", "in another form of Unicode (composed letters)"),
    ],
)
def test_near_misses_are_told_with_what_to_write(wanted, written, difference):
    matches = match_ids([wanted, "other"], [written])
    assert matches.matched == 0
    assert [(miss.written, miss.wanted, miss.rule) for miss in matches.near] == [(written, wanted, difference)]
    assert matches.remedy == f"1 of 1 match {difference}: write {wanted!r}, not {written!r}"


def test_a_rule_that_matches_few_is_no_remedy():
    matches = match_ids([f"a{i}" for i in range(10)], ["A0", "a1.wav", *(f"b{i}" for i in range(8))])
    assert matches.remedy is None
    assert matches.told("labels.csv") == [
        "10 of 10 ids in labels.csv match no features: 'A0', 'a1.wav', 'b0', 'b1', 'b2', ...",
        "10 of 10 videos are not in labels.csv: 'a0', 'a1', 'a2', 'a3', 'a4', ...",
        "'a1.wav' in labels.csv would match without the suffix '.wav': 'a1'",
        "'A0' in labels.csv would match in other case: 'a0'",
    ]


def test_ids_that_would_be_one_are_no_near_miss():
    """v.001 and v.002 without what looks like a suffix."""
    assert match_ids(["v.001", "v.002"], ["v.003", "v.004"]).near == []


def test_nothing_is_told_where_all_match():
    assert match_ids(["a", "b"], ["b", "a", "a"]).told("labels.csv") == []


def test_ids_of_bytes_that_are_no_text_match_nothing(tmp_path):
    """Names of files may be such; a table cannot."""
    ids = ["\udcff", "a", "b"]
    path = tmp_path / "a.csv"
    path.write_text("id,x\nb,1\nz,2\n")
    table = read_table(path)
    assert find_id_column(table, ids, None) == "id"
    assert videos_of(table, "id", ids).tolist() == [2, -1]
    assert match_ids(ids, table.texts("id")).matched == 1
