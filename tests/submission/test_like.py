"""A sample and a split of an index: what is refused before anything is written, and what is said to be lost."""

import hashlib

import pytest
from fixtures.made_up_runs import make_index
from fixtures.samples import put
from fixtures.support import name_classes

from pipeline.config.errors import StageError
from pipeline.inputs.index import Index
from pipeline.submission.like import describe_sample, sample_of_split, tell_losses

NAMES = [f"bird {number}" for number in range(30)]


@pytest.fixture
def index(tmp_path):
    folder = make_index(tmp_path).folder
    name_classes(folder, NAMES)
    return Index.open(folder)


def test_its_ids_and_classes_are_those_of_the_index(tmp_path, index):
    first = index.ids_of(index.rows("test"))[0]
    sample = sample_of_split(put(tmp_path / "s.csv", "id,bird 3,bird 0", f"{first},0,0"), index, "test", None)
    assert sample.cells.numbers == (3, 0)
    assert describe_sample(sample) == {
        "file": "s.csv",
        "sha256": hashlib.sha256((tmp_path / "s.csv").read_bytes()).hexdigest(),
        "form": "one column for each class, named",
    }
    assert list(tell_losses(sample, 240, 25, None)) == [
        "239 videos of the split left out: the sample does not ask for them",
        "28 classes left out: the sample has no column for 'bird 1', 'bird 2', 'bird 4', 'bird 5', 'bird 6', ...",
        "25 classes of 30 have a score for each video, and the others get 0: infer and ensemble store more with larger "
        "--inference.top-k and --ensemble.top-k",
    ]


@pytest.mark.parametrize(
    ("rows", "below", "line"),
    [
        (
            ["id,bird 0,bird 1", "{},0,1"],
            None,
            "probabilities, where the sample has 0 and 1 alone: for decisions give --",
        ),
        (["id,bird 0,bird 1", "{},0,0"], None, None),  # a host may write that whatever it asks for
        (["id,bird 0,bird 1", "{},0,0"], 1, "1 where a score reaches its threshold, else 0; 1 row without a 1"),
        (
            ["id,labels", "{},3 4"],
            2,
            "2 rows of which no label reaches its threshold: filled with the best one, as no ",
        ),
        (["id,labels", "{},3 4", "{},"], 0, "0 rows of which no label reaches its threshold: empty"),
    ],
)
def test_decisions_are_told(tmp_path, index, rows, below, line):
    ids = index.ids_of(index.rows("test"))
    path = put(tmp_path / "s.csv", *(row.format(id) for row, id in zip(rows, ["", *ids])))
    told = list(tell_losses(sample_of_split(path, index, "test", None), 240, 25, None, below))
    assert any(each.startswith(line) for each in told) if line else not any("threshold" in each for each in told)


@pytest.mark.parametrize(
    ("rows", "top_k", "message"),
    [
        (["id,bird 3,fish", "{}.mp4,0,0"], None, "'fish'"),
        (["id,labels", "{}.mp4,bird 3"], None, "1 of its 1 id not predicted: '.*' .near: "),
        (["id,label", "{},bird 3"], 2, r"--submission\.top-k 2: .*s\.csv has one label a row"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, index, rows, top_k, message):
    path = put(tmp_path / "s.csv", *(row.format(index.ids_of(index.rows("test"))[0]) for row in rows))
    with pytest.raises(StageError, match=message):
        sample_of_split(path, index, "test", top_k)


@pytest.mark.parametrize(
    ("stored", "top_k", "line"),
    [
        (25, None, "3 labels a row: as many as a row of the sample has at most"),
        (25, 5, "5 labels a row: --submission.top-k 5"),
        (2, None, "2 labels a row: no more are stored"),
        (1, 5, "1 label a row: no more are stored"),
    ],
)
def test_how_many_labels_are_written_is_said(tmp_path, index, stored, top_k, line):
    ids = index.ids_of(index.rows("test"))
    path = put(tmp_path / "s.csv", "id,labels", *(f"{id},1 2 3" for id in ids))
    assert list(tell_losses(sample_of_split(path, index, "test", top_k), len(ids), stored, top_k)) == [line]
