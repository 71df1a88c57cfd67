import threading

import pytest

from pipeline.transfer.source import LONGEST_WAIT, RateLimited, Refused, RetryPolicy, Stopped, Unavailable


class Clock(threading.Event):
    """An event that is never set, and remembers how long was waited for it."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def wait(self, timeout=None):
        self.waits.append(timeout)
        return False


class Action:
    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.calls = 0

    def __call__(self):
        outcome = self.outcomes[min(self.calls, len(self.outcomes) - 1)]
        self.calls += 1
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_what_is_unavailable_is_tried_again():
    action = Action(Unavailable("a"), Unavailable("b"), "done")
    assert RetryPolicy(attempts=3).call(action, Clock()) == "done"


def test_the_last_fault_is_told_when_the_attempts_are_over():
    action = Action(Unavailable("a"), Unavailable("b"), Unavailable("c"), "done")
    with pytest.raises(Unavailable, match="c"):
        RetryPolicy(attempts=3).call(action, Clock())
    assert action.calls == 3


@pytest.mark.parametrize("fault", [Refused("no"), OSError(28, "full"), ValueError("bug")])
def test_other_faults_end_it_at_once(fault):
    action = Action(fault)
    with pytest.raises(type(fault)):
        RetryPolicy().call(action, Clock())
    assert action.calls == 1


def test_pauses_are_random_below_a_bound_that_doubles():
    bounds = [2.0 * 2**n for n in range(5)] + [60.0] * 3
    drawn = []
    for _ in range(200):
        clock = Clock()
        with pytest.raises(Unavailable):
            RetryPolicy(attempts=9, pause=2.0).call(Action(Unavailable("x")), clock)
        drawn.append(clock.waits)
    for bound, waits in zip(bounds, zip(*drawn, strict=True), strict=True):
        assert 0.9 * bound < max(waits) <= bound and min(waits) < 0.1 * bound


def test_a_server_that_says_when_is_believed():
    clock = Clock()
    assert RetryPolicy(pause=1.0).call(Action(Unavailable("x", after=7), "done"), clock) == "done"
    assert 7 <= clock.waits[0] <= 8
    clock = Clock()
    RetryPolicy(pause=1.0).call(Action(Unavailable("x", after=0), "done"), clock)
    assert clock.waits == [0]


def test_a_server_that_asks_for_too_much_is_given_up():
    action = Action(Unavailable("x", after=LONGEST_WAIT + 1))
    with pytest.raises(Unavailable):
        RetryPolicy().call(action, Clock())
    assert action.calls == 1


def test_attempts_that_come_further_do_not_count():
    reached = 0

    def action():
        nonlocal reached
        reached += reached < 50
        if reached == 50:
            return "done"
        raise Unavailable("x")

    assert RetryPolicy(attempts=2).call(action, Clock(), lambda: reached) == "done"


def test_coming_as_far_as_before_counts():
    action = Action(Unavailable("x"))
    with pytest.raises(Unavailable):
        RetryPolicy(attempts=4).call(action, Clock(), lambda: 1000)
    assert action.calls == 4


def test_what_is_stopped_does_not_go_on():
    stopping, action = threading.Event(), Action(Unavailable("x"))
    threading.Timer(0.1, stopping.set).start()
    with pytest.raises(Stopped):
        RetryPolicy(attempts=100, pause=1000).call(action, stopping)
    assert action.calls <= 2


def test_waiting_with_others_is_no_attempt_but_ends():
    action = Action(*[RateLimited("x", after=5)] * 30, "done")
    assert RetryPolicy(attempts=2).call(action, Clock()) == "done"
    action = Action(RateLimited("x", after=LONGEST_WAIT / 10))
    with pytest.raises(RateLimited):
        RetryPolicy(attempts=2).call(action, Clock())
    assert action.calls == 11


@pytest.mark.parametrize("kind", [Refused, Unavailable, RateLimited])
def test_no_secret_of_an_address_is_in_an_error(kind):
    assert str(kind("https://me:pass@h/a?sig=b: no")) == "https://h/a?...: no"
