"""The watch beside training: what it counts and times of steps told of one by one, or several at a time."""

import io

import pytest
from tqdm import tqdm

from pipeline.training.callbacks import BatchMonitor


@pytest.mark.parametrize(("told", "timed"), [(range(7), 6), ([2, 5, 8], 4), ([9], 0)])
def test_every_step_counts_once(told, timed):
    """Of several at a time Keras tells the last one, beyond the end of the range too."""
    with tqdm(total=28, file=io.StringIO()) as bar:
        watch = BatchMonitor(range(10, 17), 4, bar)
        for batch in told:
            watch.on_train_batch_end(batch, {"loss": 1.0})
        assert bar.n == 28
    assert watch.batches == timed and watch.loss == 1.0 and watch.failed_step is None
    assert (watch.seconds > 0) == (timed > 0)


def test_training_stops_at_a_loss_that_is_not_finite():
    class Model:
        stop_training = False

    with tqdm(total=28, disable=True) as bar:
        watch = BatchMonitor(range(10, 17), 4, bar)
        watch.set_model(Model())
        for batch, loss in ((2, 1.0), (8, float("inf"))):
            assert not watch.model.stop_training
            watch.on_train_batch_end(batch, {"loss": loss})
    assert watch.failed_step == 16 and watch.model.stop_training
