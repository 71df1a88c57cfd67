"""Predictions of several runs read side by side: those of the split's videos, in parts of one size, or a refusal."""

import numpy as np
import pytest
from fixtures.made_up_runs import make_index, make_run

from pipeline.artifacts.predictions import PredictionStore
from pipeline.config.errors import StageError
from pipeline.inputs.predicted import read_together


def test_runs_that_cannot_be_read_side_by_side_are_refused(tmp_path):
    index = make_index(tmp_path)
    runs = [make_run(tmp_path, index, name, noise) for name, noise in (("one", 2.0), ("two", 4.0))]
    stores = [PredictionStore(run / "predictions" / "holdout") for run in runs]
    rows = [rows for rows, _ in read_together(stores, index, "holdout")]
    np.testing.assert_array_equal(np.concatenate(rows), index.rows("holdout"))
    with pytest.raises(StageError, match="one/predictions/holdout holds other videos than test"):
        list(read_together(stores, index, "test"))
    stores[1].parts()[-1].unlink()
    stores[1].finish({}, {})
    with pytest.raises(StageError, match=r"videos of holdout are missing from .*two"):
        list(read_together(stores, index, "holdout"))
    (stores[1].folder / "plan.json").write_text('{"videos_per_part": 7}')
    with pytest.raises(StageError, match="cut into parts of"):
        list(read_together(stores, index, "holdout"))
