"""Numbers with their nouns, and the first few of many."""

import pytest

from pipeline.config.wording import counted, first_lines, listed


@pytest.mark.parametrize(("number", "said"), [(0, "0 videos"), (1, "1 video"), (2, "2 videos"), (1000, "1000 videos")])
def test_a_number_has_the_noun_that_belongs_to_it(number, said):
    assert counted(number, "video") == said


def test_a_plural_that_is_not_regular_is_given():
    assert [counted(number, "class", "classes") for number in (1, 2)] == ["1 class", "2 classes"]


@pytest.mark.parametrize(
    ("words", "most", "count", "said"),
    [
        ([], 5, None, ""),
        (["a"], 5, None, "a"),
        (["a", "b"], 2, None, "a, b"),
        (["a", "b", "c"], 2, None, "a, b, ..."),
        (["a", "b"], 2, 2, "a, b"),
        (["a", "b"], 2, 3, "a, b, ..."),
        (["a", "b"], 5, 3, "a, b, ..."),
        (["a", "b", "c"], 2, 3, "a, b, ..."),
    ],
)
def test_words_in_a_row_end_with_dots_if_there_are_others(words, most, count, said):
    assert listed(words, most, count) == said


@pytest.mark.parametrize(
    ("lines", "most", "count", "told"),
    [
        ([], 5, None, []),
        (["a", "b"], 2, None, ["a", "b"]),
        (["a", "b", "c"], 2, None, ["a", "b", "and 1 more"]),
        (["a", "b"], 2, 2, ["a", "b"]),
        (["a", "b"], 2, 9, ["a", "b", "and 7 more"]),
        (["a", "b", "c"], 2, 9, ["a", "b", "and 7 more"]),
        (["a"], 2, 9, ["a", "and 8 more"]),
    ],
)
def test_the_first_lines_and_how_many_others_there_are(lines, most, count, told):
    assert first_lines(lines, most, count=count) == told


def test_the_last_line_says_more_where_it_is_given():
    assert first_lines(["a", "b"], 1, "  and {} more, damaged too") == ["a", "  and 1 more, damaged too"]
