"""What is written like a sample has the bytes of a plain form, and passes the check, whatever the sample is like."""

import gzip
import hashlib

import numpy as np
import pytest
from fixtures.samples import cases, put
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.like import plainly

from pipeline.artifacts.predictions import Predictions
from pipeline.config.errors import StageError
from pipeline.submission import like_rows
from pipeline.submission.like_check import check_like
from pipeline.submission.like_classes import Classes
from pipeline.submission.like_rows import write_like
from pipeline.submission.like_sample import read_sample


@given(cases(), st.sampled_from(["x.csv", "x.csv.gz"]), st.sampled_from([None, 2]), st.sampled_from([None, 0.3, 0.9]))
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_like_the_sample(tmp_path_factory, case, name, top_k, least):
    path, sample_path = tmp_path_factory.getbasetemp() / name, tmp_path_factory.getbasetemp() / "sample"
    sample_path.write_bytes(case.content)
    sample = read_sample(sample_path, Classes(case.names), set(case.predictions.ids))
    top_k = top_k if case.between else None
    # Classes of odd numbers need less, and one is never assigned.
    thresholds = [least and (least / (1 + number % 2) if number else 2.0) for number in range(len(case.names))]
    given = None if least is None else np.array(thresholds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(like_rows, "_MOST_ROWS", 2)
        written = write_like(path, case.parts(), case.predictions.ids, sample, top_k, path.suffix == ".gz", given)
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    assert content.decode() == plainly(case, top_k, thresholds if least else None).decode()
    assert written[:3] == (len(case.asked), hashlib.sha256(content).hexdigest(), case.predictions.labels.shape[1])
    rows = [dict(zip(*(each.tolist() for each in both))) for both in zip(*case.predictions[1:])]
    asked = [rows[case.predictions.ids.index(video)] for video in case.asked]
    without = [not least or any(score >= thresholds[label] for label, score in row.items()) for row in asked]
    assert written.below == without.count(False)
    assert check_like(path, sample, top_k) == []
    assert check_like(path, read_sample(sample_path, None, None), top_k) == []  # by whom the classes are not known


IDS, CLASSES = ["a", "b"], Classes(["Dog", "Great tit", "Robin"])
LABELS, SCORES = np.array([[2, 0], [1, 2]], np.int16), np.array([[0.75, 0.5], [1, 0]], np.float32)


@pytest.mark.parametrize(
    ("sample", "top_k", "rows"),
    [
        (["id,Robin,Dog", "b,0,0", "a,0,0"], None, ["id,Robin,Dog", "b,0,0", "a,0.75,0.5"]),
        (["id,labels", "a,0 1", "b,2"], None, ["id,labels", "a,2 0", "b,1 2"]),
        (["id,labels", "a,0 1", "b,2"], 1, ["id,labels", "a,2", "b,1"]),
        (["id,species", "b,Great tit"], None, ["id,species", "b,Great tit"]),
        (["species\tid", "Dog\ta", "Dog\tb"], None, ["species\tid", "Robin\ta", "Great tit\tb"]),
        (["id,pairs", 'a,"Dog,1,Robin,0"'], None, ["id,pairs", 'a,"Robin,0.75,Dog,0.5"']),
        (
            ["VideoId,LabelConfidencePairs", "a,0 0.5 1 0.5", "b,0 0.5"],
            None,
            ["VideoId,LabelConfidencePairs", "a,2 0.75 0 0.5", "b,1 1 2 0"],
        ),
    ],
)
def test_each_form_as_a_host_shows_it(tmp_path, sample, top_k, rows):
    sample = read_sample(put(tmp_path / "sample.csv", *sample), CLASSES, set(IDS))
    write_like(tmp_path / "x.csv", [Predictions(IDS, LABELS, SCORES)], IDS, sample, top_k, False)
    assert (tmp_path / "x.csv").read_text().splitlines() == rows


@pytest.mark.parametrize(
    ("sample", "rows", "below"),
    [
        (["id,Robin,Dog", "b,0,1", "a,0,0"], ["id,Robin,Dog", "b,0,0", "a,0,1"], 1),
        (["id,labels", "a,0 1", "b,2"], ["id,labels", "a,0", "b,1"], 1),  # the best one
        (["id,labels", "a,0 1", "b,"], ["id,labels", "a,0", "b,"], 1),
        (["id,labels", "b,0 1"], ["id,labels", "b,1"], 1),
        (["id,pairs", "a,0 0.5", "b,"], ["id,pairs", "a,0 0.5", "b,"], 1),
    ],
)
def test_each_form_of_decisions(tmp_path, sample, rows, below):
    """A dog is assigned from 0.5 on; of a robin 0.75 is not enough, and a great tit is never assigned."""
    sample = read_sample(put(tmp_path / "sample.csv", *sample), CLASSES, set(IDS))
    thresholds = np.array([0.5, 2, 0.8])
    written = write_like(tmp_path / "x.csv", [Predictions(IDS, LABELS, SCORES)], IDS, sample, None, False, thresholds)
    assert (tmp_path / "x.csv").read_text().splitlines() == rows and written.below == below
    assert check_like(tmp_path / "x.csv", sample) == []


def test_predictions_that_are_wrong_are_refused(tmp_path):
    sample = read_sample(put(tmp_path / "sample.csv", "id,labels", "a,0 1"), CLASSES, set(IDS))
    for scores, fault in ((np.nan, "not finite"), (1.5, "outside"), (-0.5, "outside")):
        wrong = [Predictions(IDS, LABELS, np.full((2, 2), scores, np.float32))]
        with pytest.raises(ValueError, match=f"video 'a' has a confidence .*{fault}"):
            write_like(tmp_path / "x.csv", wrong, IDS, sample, None, False)
    with pytest.raises(StageError, match="1 of its 1 id not predicted: 'a'"):
        write_like(tmp_path / "x.csv", [], ["x", "y"], sample, None, False)
