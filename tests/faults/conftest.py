"""What the tests of faults share: the stages to disturb, and the figures of what was tried."""

import os
import platform
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faults.places import KILLS, LEAST, items
from faults.stages import Server, compile_library
from faults.subjects import Subject, Subjects
from servers.fault_server import serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    if not shutil.which("cc") or platform.machine() != "x86_64":
        message = "needs a C compiler, `cc`, to count the system calls, and x86-64, whose registers it knows"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    folder = tmp_path_factory.mktemp("faults")
    return Server(compile_library(folder), folder)


@pytest.fixture(scope="session")
def subject(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Subject]]:
    """Makes the subject of a stage; the stages before it run once."""
    root = tmp_path_factory.mktemp("stages")
    with serving(root / "before-ingest") as address:
        yield Subjects(server, root, address).get


# ------------------------------------------------------------------------------------------------------------ figures


@pytest.fixture
def tried(record_property) -> Callable[[str, str, int], None]:
    """Notes what a test tried, for the table at the end: what, of which stage, how often."""
    return lambda what, stage, count: record_property("faults", (what, stage, count))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how often each kind of fault was tried, of which stage."""
    counts = _counts(terminalreporter)
    if counts:
        terminalreporter.section("faults")
        for what in dict.fromkeys(what for what, _ in counts):
            stages = {stage: count for (other, stage), count in counts.items() if other == what}
            each = ", ".join(f"{stage} {count}" for stage, count in stages.items())
            terminalreporter.line(f"{what}: {sum(stages.values())} ({each})")
        if missing := _missing(terminalreporter):
            terminalreporter.line(f"FAILED: {missing}", red=True)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let the long form fail that has killed too seldom."""
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    if reporter and _missing(reporter):  # the processes that run the tests have none
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _reports(reporter: Any) -> list[pytest.TestReport]:
    return [each for stat in reporter.stats.values() for each in stat if getattr(each, "when", "") == "call"]


def _counts(reporter: Any) -> Counter[tuple[str, str]]:
    """Return how often what was tried of which stage."""
    counts: Counter[tuple[str, str]] = Counter()
    for report in _reports(reporter):
        for name, value in report.user_properties:
            if name == "faults":
                counts[value[0], value[1]] += value[2]
    return counts


def _missing(reporter: Any) -> str:
    """Return what is wrong with the number of kills, if the whole long form was run; empty for nothing."""
    run = {report.nodeid.partition("[")[2] for report in _reports(reporter) if KILLS in report.nodeid}
    killed = sum(count for (what, _), count in _counts(reporter).items() if what == "killed")
    whole = run >= {f"{stage}-{part}]" for stage, part in items()}
    return f"killed at {killed} places, and the long form is to try {LEAST}" if whole and killed < LEAST else ""
