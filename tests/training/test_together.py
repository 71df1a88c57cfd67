"""What hosts tell each other before a run: the others hear what host 0 calls them to, and refuse other settings."""

from types import SimpleNamespace

import pytest

from pipeline.config import TrainingConfig
from pipeline.config.errors import StageError
from pipeline.runtime.hosts import Hosts
from pipeline.training import together


@pytest.fixture
def told(monkeypatch):
    """What host 0 has told; the others hear it."""
    messages = []

    def tell(hosts, message):
        if message is not None or not messages:
            messages.append(message)
        return messages[-1]

    monkeypatch.setattr(Hosts, "tell", tell)
    return messages


def plan(precision="mixed_bfloat16", **settings):
    experiment = SimpleNamespace(training=TrainingConfig(precision=precision))
    return SimpleNamespace(folder="runs/tiny/average", config=settings, experiment=experiment)


def index(digest="a"):
    return SimpleNamespace(digest=digest)


def test_the_others_hear_what_host_0_trains_with(told):
    together.call(plan(epochs=3), index())
    called = together.called()
    assert called.precision == "mixed_bfloat16"
    called.check(plan(epochs=3), index())


@pytest.mark.parametrize("other", [(plan(epochs=4), index()), (plan(epochs=3), index("b"))])
def test_other_settings_and_another_index_are_refused(told, other):
    together.call(plan(epochs=3), index())
    with pytest.raises(StageError, match="runs/tiny/average is trained with other settings by host 0, or from another"):
        together.called().check(*other)


def test_where_nothing_is_to_be_trained_they_are_dismissed(told):
    together.dismiss()
    assert told == [None]
    assert together.called() is None
