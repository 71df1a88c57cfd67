"""Where a sample's ids are among those that were predicted, and what is said of those that are not."""

import pytest
from fixtures.samples import put

from pipeline.config.errors import StageError
from pipeline.submission.like_ids import find_rows, near_misses
from pipeline.submission.like_sample import read_sample


def sample(tmp_path, *ids):
    return read_sample(put(tmp_path / "sample.csv", "id,labels", *(f"{id},0" for id in ids)), None, None)


def test_each_id_has_its_place(tmp_path):
    assert find_rows(sample(tmp_path, "c", "a"), ["a", "b", "c"]).tolist() == [2, 0]


@pytest.mark.parametrize(
    ("asked", "there", "message"),
    [
        (["a", "b.mp4"], ["a", "b"], r"1 of its 2 ids not predicted: 'b\.mp4' \(near: 'b'\); ingest the videos under"),
        (["clips/B"], ["a", "b.ogg"], r"1 of its 1 id not predicted: 'clips/B' \(near: 'b\.ogg'\)"),
        (["b_5", "b_10"], ["b"], r"'b_5' \(near: 'b'\), 'b_10' \(near: 'b'\); 'b_5' looks like a window of a video"),
        (
            [f"x{n}" for n in range(7)],
            ["a"],
            "7 of its 7 ids not predicted: 'x0', 'x1', 'x2', 'x3', 'x4', ...; predict",
        ),
    ],
)
def test_ids_without_predictions_are_counted_and_shown(tmp_path, asked, there, message):
    with pytest.raises(StageError, match=rf"sample\.csv: .*{message}"):
        find_rows(sample(tmp_path, *asked), there)


def test_what_is_nearer_is_shown():
    assert near_misses(["a_1.wav", "0012", "x"], ["a", "A_1", "12", "y"]) == {"a_1.wav": "A_1", "0012": "12"}
    assert near_misses(["a_1.wav"], ["A_1", "a"]) == {"a_1.wav": "A_1"}
