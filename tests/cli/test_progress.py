"""Which stage of how many runs, and how long each took."""

import pytest

from pipeline.cli.progress import StageProgress, minutes


def test_each_stage_is_counted_and_timed(capsys):
    times = iter([0.0, 10.0, 15.2, 16.0, 76.0, 80.0])
    progress = StageProgress(2, lambda: next(times))
    progress.begin("ingest")
    progress.begin("train --model average")
    progress.end()
    progress.end()  # nothing runs any more
    assert capsys.readouterr().out.splitlines() == [
        *("", "Stage 1 of 2: ingest", "in 0:05"),
        *("", "Stage 2 of 2: train --model average", "in 1:00"),
    ]
    assert progress.seconds == {"ingest": pytest.approx(5.2), "train --model average": 60.0}
    assert progress.whole == 80.0


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0:00"), (59.6, "1:00"), (754, "12:34"), (3600, "1:00:00"), (90_061, "25:01:01")]
)
def test_times_are_said_in_minutes(seconds, said):
    assert minutes(seconds) == said
