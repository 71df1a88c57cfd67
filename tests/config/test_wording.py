"""Numbers with their nouns."""

import pytest

from pipeline.config.wording import counted


@pytest.mark.parametrize(("number", "said"), [(0, "0 videos"), (1, "1 video"), (2, "2 videos"), (1000, "1000 videos")])
def test_a_number_has_the_noun_that_belongs_to_it(number, said):
    assert counted(number, "video") == said


def test_a_plural_that_is_not_regular_is_given():
    assert [counted(number, "class", "classes") for number in (1, 2)] == ["1 class", "2 classes"]
