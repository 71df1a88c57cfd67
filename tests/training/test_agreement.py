"""Agreement: a host's signal counts when all have heard of it, and then for all."""

import signal

import pytest

from pipeline.runtime.hosts import Hosts
from pipeline.runtime.signals import Stopped, StopRequest
from pipeline.training.agreement import Agreement


@pytest.mark.parametrize(
    ("own", "others", "heard"), [(None, 0, None), (signal.SIGINT, 0, signal.SIGINT), (None, 15, signal.SIGTERM)]
)
def test_a_signal_counts_when_all_have_heard_of_it(monkeypatch, own, others, heard):
    monkeypatch.setattr(Hosts, "agree", lambda _, number: max(number, others))
    request = StopRequest()
    agreement = Agreement(request, Hosts(2, 0))
    request.signal = own
    agreement.check()
    assert not agreement
    agreement.hear()
    assert agreement.signal == heard
    if heard:
        with pytest.raises(Stopped):
            agreement.check()
