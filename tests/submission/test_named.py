"""The file that submit writes: of the split's videos in the index's order, or none at all."""

import hashlib

import numpy as np
import pytest

from pipeline.artifacts.predictions import Predictions, PredictionStore
from pipeline.config import SubmissionConfig
from pipeline.config.errors import StageError
from pipeline.submission import check_submission
from pipeline.submission.named import write_named

IDS = [f"v{number:02d}" for number in range(10)]


def stored(tmp_path, ids=IDS, largest=8) -> PredictionStore:
    rng = np.random.default_rng(0)
    labels = np.stack([rng.permutation(largest + 1)[:5] for _ in ids])
    labels[-1, 0], labels[-1, 1:] = largest, range(4)
    store = PredictionStore(tmp_path / "predictions")
    store.write_all({}, {}, 4, Predictions(list(ids), labels, np.linspace(0.9, 0.1, 5) + 0 * labels))
    return store


@pytest.mark.parametrize("gzip", [False, True])
def test_it_is_valid_and_named_for_its_content(tmp_path, gzip):
    settings = SubmissionConfig(top_k=3, gzip=gzip)
    path, written = write_named(tmp_path / "out", "mine", stored(tmp_path), IDS, 9, settings)
    assert check_submission(path, IDS, 9, 3) == [] and written.rows == 10
    assert path.name == f"mine-{written.digest[:8]}.csv" + (".gz" if gzip else "")
    if not gzip:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == written.digest


@pytest.mark.parametrize(
    ("ids", "num_classes", "fault"),
    [
        ([*IDS[1:], IDS[0]], 9, "video 'v00' is not the one that the index has in its place"),
        ([*IDS, "v99"], 9, "1 video not predicted, for example 'v99'"),
        (IDS[:-1], 9, "video 'v09' is not the one"),
        (IDS, 8, "label 8 is not one of 8 classes"),
    ],
)
def test_predictions_of_other_videos_or_classes_leave_nothing(tmp_path, ids, num_classes, fault):
    with pytest.raises(StageError, match=rf"predictions: {fault}.*run infer again"):
        write_named(tmp_path / "out", "mine", stored(tmp_path), ids, num_classes, SubmissionConfig())
    assert list((tmp_path / "out").iterdir()) == []
