"""The log of a run: what a resumed run keeps, and what TensorBoard is shown."""

import json

from pipeline.training.log import MetricsLog


def steps(path):
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_a_resumed_run_drops_what_came_after_its_step(tmp_path):
    log = MetricsLog(tmp_path, 0)
    for step in (10, 20, 30):
        log.add({"step": step, "loss": 1.0 / step, "gap": 0.5})
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "lo')  # a kill in the middle of a line
    log = MetricsLog(tmp_path, 20)
    log.add({"step": 30, "loss": 0.25})
    log.close()
    assert steps(tmp_path / "metrics.jsonl") == [10, 20, 30]
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[2])["loss"] == 0.25


def test_tensorboard_shows_the_same(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util

    for first in (0, 10):  # the second time resumes
        log = MetricsLog(tmp_path, first)
        log.add({"step": first + 10, "loss": 2.0 + first, "note": "text is not a curve"})
        log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert events.Tags()["tensors"] == ["loss"]
    shown = [(event.step, float(tensor_util.make_ndarray(event.tensor_proto))) for event in events.Tensors("loss")]
    assert shown == [(10, 2.0), (20, 12.0)]
