"""Which classes a host's words are, and which they are nearly."""

import pytest

from pipeline.submission.like_classes import Classes, with_near

CLASSES = Classes(["House sparrow", "10", "Robin", "Great tit"])


@pytest.mark.parametrize(
    ("words", "by_name", "found"),
    [
        (["Robin", "House sparrow"], True, [2, 0]),
        (["3", "0", "1"], False, [3, 0, 1]),
        (["10"], True, [1]),  # a name that looks like a number
        (["Robin", "3"], True, [2, None]),  # all are names, or all are numbers
        (["3", "2", "Robin"], False, [3, 2, None]),
        (["03", "4", "-1"], True, [None, None, None]),
        ([], True, []),
    ],
)
def test_words_are_all_names_or_all_numbers(words, by_name, found):
    assert CLASSES.table(words) == (by_name, CLASSES.table_of(by_name))
    assert [CLASSES.table_of(by_name).get(word) for word in words] == found


def test_each_class_has_its_word():
    assert CLASSES.written(True) == CLASSES.names
    assert CLASSES.written(False) == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["house_sparrow"], "'house_sparrow' (near: 'House sparrow')"),
        (["Great-Tit", "Usage"], "'Great-Tit' (near: 'Great tit'), 'Usage'"),
        (["Robbin"], "'Robbin' (near: 'Robin')"),
        ([f"x{number}" for number in range(6)], "'x0', 'x1', 'x2', 'x3', 'x4', ..."),
    ],
)
def test_the_first_five_are_listed_with_what_they_may_stand_for(words, message):
    assert CLASSES.listed(words) == message


def test_a_list_of_some_says_that_there_are_more():
    assert with_near([("a",), ("b", "B")], 2) == "'a', 'b' (near: 'B')"
    assert with_near([(str(number),) for number in range(5)], 6).endswith("'4', ...")
