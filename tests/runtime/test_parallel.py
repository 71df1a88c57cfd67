"""Work in other processes: order, errors, and the end of the parent."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import threadpoolctl
from fixtures.support import ROOT

from pipeline.runtime.parallel import Died, default_workers, map_in_processes, prefetch, stream_from_processes


def threads_of_blas(_: int) -> list[int]:
    return [library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]


def squared(value: int) -> tuple[int, int]:
    if value == 13:
        raise ValueError("thirteen")
    return value**2, os.getpid()


def blocked_signals(_: int) -> set[int]:
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())


def sleep_beside(folder: str) -> None:
    Path(folder, str(os.getpid())).touch()
    time.sleep(60)


def test_a_system_that_does_not_tell_what_a_process_may_use_tells_how_many_processors_there_are(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    assert default_workers() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert default_workers() == 12


@pytest.mark.parametrize("at_once", [1, 5])
def test_results_come_in_order_from_other_processes(at_once):
    results = list(map_in_processes(squared, range(12), 2, at_once))
    assert [value for value, _ in results] == [number**2 for number in range(12)]
    assert os.getpid() not in {process for _, process in results}


def test_a_process_has_one_thread_of_blas():
    for found in map_in_processes(threads_of_blas, range(2), 2):
        assert found and set(found) == {1}


def test_one_worker_needs_no_other_process():
    assert list(map_in_processes(squared, [3], 1)) == [(9, os.getpid())]


def test_an_error_reaches_the_caller():
    with pytest.raises(ValueError, match="thirteen"):
        list(map_in_processes(squared, range(20), 2))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_workers_end_when_the_parent_is_killed(tmp_path, number):
    """Or stopped, with all its processes, when a terminal is closed; nothing but the parent's line is printed."""
    script = (
        "import sys\nfrom pipeline.runtime import signals\nfrom pipeline.runtime.parallel import map_in_processes\n"
        "from runtime.test_parallel import sleep_beside\n"
        "if __name__ == '__main__':\n    signals.watch()\n"
        "    list(map_in_processes(sleep_beside, [sys.argv[1]] * 2, 2))\n"
    )
    path = tmp_path / "parent.py"
    path.write_text(script)
    folder = tmp_path / "workers"
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    command = [sys.executable, path, folder]
    parent = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    workers = _wait_for(lambda: [int(file.name) for file in folder.iterdir()], 2)
    os.kill(parent.pid, number) if number == signal.SIGKILL else os.killpg(parent.pid, number)
    line = "stopped by SIGHUP; the same command goes on from here\n"
    assert parent.communicate()[1] == (line if number == signal.SIGHUP else "")
    assert _wait_for(lambda: [worker for worker in workers if _ended(worker)], 2) == workers


def test_an_interrupt_from_a_terminal_does_not_reach_the_workers():
    """It is sent to all processes; workers that it ended would leave a traceback each."""
    for blocked in map_in_processes(blocked_signals, range(2), 2):
        assert {signal.SIGINT, signal.SIGHUP} <= blocked and signal.SIGTERM not in blocked
    assert not {signal.SIGINT, signal.SIGHUP} & blocked_signals(0)


def _wait_for(what, count: int) -> list[int]:
    deadline = time.monotonic() + 60
    while len(found := what()) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return sorted(found)


def _ended(process: int) -> bool:
    """Gone, or a zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("depth", [1, 3])
def test_items_are_made_ahead_in_their_order_and_no_further(depth):
    made = []

    def items():
        for number in range(20):
            made.append(number)
            yield number

    taken = []
    for item in prefetch(items(), depth):
        assert len(made) <= item + 1 + depth
        taken.append(item)
    assert taken == list(range(20))


def test_an_error_of_what_is_made_ahead_comes_after_the_items_before_it():
    def items():
        yield 1
        raise ValueError("two")

    upcoming = prefetch(items())
    assert next(upcoming) == 1
    with pytest.raises(ValueError, match="two"):
        next(upcoming)


def counting(step: int, item: int):
    """Counts to the item; 13 is an error, and 17 is the death of the process."""
    for number in range(item):
        if number == 3 and item == 17:
            os.kill(os.getpid(), signal.SIGKILL)
        yield number * step, os.getpid()
    if item == 13:
        raise ValueError("thirteen")


@pytest.mark.parametrize("workers", [1, 2])
def test_streams_come_in_their_order_and_those_of_other_items_between(workers):
    items = [4, 0, 5, 2, 7]
    found: dict[int, list[int]] = {number: [] for number in range(5)}
    processes = set()
    for number, (value, process) in stream_from_processes(counting, items, workers, (10,)):
        found[number].append(value)
        processes.add(process)
    assert found == {number: [10 * each for each in range(item)] for number, item in enumerate(items)}
    assert (processes == {os.getpid()}) == (workers == 1)


def test_a_process_that_dies_ends_its_item_alone():
    found = list(stream_from_processes(counting, [2, 17, 2, 3], 2, (1,)))
    assert [value for number, value in found if number == 1][3:] == [Died(-signal.SIGKILL)]
    assert [sum(number == each for number, _ in found) for each in range(4)] == [2, 4, 2, 3]


def test_an_error_of_a_stream_reaches_the_caller_and_no_process_is_left():
    with pytest.raises(ValueError, match="thirteen"):
        list(stream_from_processes(counting, [2, 13, 50_000, 50_000], 2, (1,)))
    assert not multiprocessing.active_children()
