"""Parts of a stage's work: each item is one part's, and whoever joins them knows which is missing."""

import pytest

from pipeline.artifacts.parts import Part, forget_parts, note_part, require_parts
from pipeline.config.errors import StageError


@pytest.mark.parametrize("of", [1, 2, 3, 7, 20])
def test_each_item_is_in_one_part(of):
    parts = [Part.read(f"{number}/{of}") for number in range(1, of + 1)]
    chosen = [item for part in parts for item in part.chosen(range(13))]
    assert sorted(chosen) == list(range(13))
    for part in parts:
        assert list(part.chosen(range(13))) == [item for item in range(13) if part.takes(item)]
    sizes = [len(part.chosen(range(13))) for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_the_missing_part_is_named(tmp_path):
    note_part(tmp_path, Part(1, 3), "key")
    note_part(tmp_path, Part(3, 3), "key")
    told = (
        r"^part 2 of 3 is missing: run the same command with --part 2/3 in place of --join 3, and then this one again"
    )
    with pytest.raises(StageError, match=told):
        require_parts(tmp_path, 3, "key")
    note_part(tmp_path, Part(2, 3), "other")
    with pytest.raises(StageError, match=r"^part 2 of 3 was made from other files or settings: "):
        require_parts(tmp_path, 3, "key")
    note_part(tmp_path, Part(2, 3), "key")
    require_parts(tmp_path, 3, "key")
    with pytest.raises(StageError, match=r"^part 1 of 4 is missing"):  # others are other parts
        require_parts(tmp_path, 4, "key")
    forget_parts(tmp_path)
    assert not list(tmp_path.iterdir())
