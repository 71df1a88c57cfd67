"""The log of submissions, and that nothing is sent twice, wherever a run is killed."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.artifacts.locks import locked
from pipeline.config.errors import StageError
from pipeline.submission.log import LogEntry, SubmissionLog, SubmissionState, submit_once
from pipeline.transfer.source import Refused, Unavailable

ENTRY = LogEntry("demo-1a2b.csv", "1a2b3c", "youtube8m-2018", "the “best”,\nso far", "pending", 7)


class Killed(BaseException):
    """As if the process had ended here."""


@dataclass
class MemorySite:
    """A competition; `events` say what happens to each of its calls before it does anything, or after."""

    competition: str = "c"
    files: list[str] = field(default_factory=list)
    """Number 100, 101, ..."""
    outcome: SubmissionState = field(default_factory=lambda: SubmissionState(0, "complete", 0.5, 0.25))
    events: list[BaseException | None] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def all(self) -> list[tuple[int, str]]:
        return list(enumerate(self.files, 100))

    def _meet(self, name: str) -> None:
        if name.endswith("begins"):
            self.calls.append(name.partition(" ")[0])
        event = self.events.pop(0) if self.events else None
        if event is not None:
            raise event

    def named(self, path: Path) -> list[SubmissionState]:
        self._meet("named begins")
        self._meet("named ends")
        return [SubmissionState(ref, "complete") for ref, name in self.all() if name == path.name][::-1]

    def send(self, path: Path, message: str, known: set[int]) -> int:
        assert known == {ref for ref, name in self.all() if name == path.name}
        self._meet("send begins")
        self.files.append(path.name)
        self._meet("send ends")
        return self.all()[-1][0]

    def scored(self, ref: int, wait: float) -> SubmissionState:
        self._meet("scored begins")
        assert ref in dict(self.all())
        self._meet("scored ends")
        return SubmissionState(ref, self.outcome.status, self.outcome.public_score, self.outcome.private_score, "why")


@pytest.fixture
def submit(tmp_path):
    """Submits a file to a site with a log below the test's folder."""
    log = SubmissionLog(tmp_path / "submissions")

    def once(site: MemorySite, content: str = "1a2b", again: bool = False, wait: float = 0.0) -> LogEntry:
        return submit_once(log.path.parent / f"demo-{content}.csv", content, "m", site, log, again, wait)

    once.log = log
    return once


# ------------------------------------------------------------------------------------------------------------- the log


def test_entries_come_back_as_they_were_written(tmp_path):
    log = SubmissionLog(tmp_path / "new")
    assert log.entries() == [] and not log.path.exists()
    entries = [ENTRY, ENTRY.now(status="complete", public_score=0.875, private_score=None)]
    for entry in entries:
        log.append(entry)
    assert log.entries() == SubmissionLog(tmp_path / "new").entries() == entries
    lines = log.path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 and json.loads(lines[1])["public_score"] == 0.875
    assert "“best”" in lines[0] and json.loads(lines[0])["time"].endswith("+00:00")


def test_each_submission_counts_by_its_last_entry(tmp_path):
    log = SubmissionLog(tmp_path)
    for entry in (
        ENTRY.now(status="sending", ref=None),
        ENTRY,
        ENTRY.now(status="complete", public_score=0.5),
        ENTRY.now(ref=8),
        ENTRY.now(competition="other", ref=7),
        ENTRY.now(hash="else", ref=9),
    ):
        log.append(entry)
    assert [(one["competition"], one["ref"], one["status"]) for one in log.outcomes("1a2b3c")] == [
        ("youtube8m-2018", 7, "complete"),
        ("youtube8m-2018", 8, "pending"),
        ("other", 7, "pending"),
    ]
    assert [entry.ref for entry in log.of("1a2b3c", "youtube8m-2018")] == [None, 7, 7, 8]


@settings(max_examples=30)
@given(st.data())
def test_a_write_that_was_cut_off_is_forgotten(tmp_path_factory, data):
    log = SubmissionLog(tmp_path_factory.mktemp("log"))
    log.append(ENTRY)
    whole = log.path.read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    log.path.write_bytes(whole + whole[:cut])
    assert log.entries() == [ENTRY]
    log.append(ENTRY.now(ref=8))
    assert [entry.ref for entry in log.entries()] == [7, 8]


@pytest.mark.parametrize("line", ["", "{", "[]", '{"file": "x"}', '"x"', "null", '{"status": 3}', "\xff"])
def test_a_line_that_is_no_entry_is_named(tmp_path, line):
    log = SubmissionLog(tmp_path)
    log.append(ENTRY)
    log.path.write_bytes(log.path.read_bytes() + line.encode("latin-1") + b"\n")
    with pytest.raises(StageError, match=r"log\.jsonl, line 2.*correct the line or delete it"):
        log.entries()


# ---------------------------------------------------------------------------------------------------------- submitting


def test_a_content_is_sent_once_and_its_score_is_kept(submit):
    site = MemorySite()
    entry = submit(site)
    assert (entry.status, entry.ref, entry.public_score, entry.private_score) == ("complete", 100, 0.5, 0.25)
    assert [one.status for one in submit.log.entries()] == ["sending", "pending", "complete"]
    calls = list(site.calls)
    assert submit(site) == entry and site.calls == calls, "the site was asked for what the log knows"
    assert submit(site, "other").ref == 101 and submit(MemorySite("d")).ref == 100


def test_a_score_that_takes_longer_is_only_asked_for(submit):
    site = MemorySite(outcome=SubmissionState(0, "pending"))
    assert submit(site).status == submit(site).status == submit(site, again=True).status == "pending"
    site.outcome = SubmissionState(0, "complete", 0.75)
    assert submit(site).public_score == 0.75
    assert site.calls == ["named", "send", "scored", "scored", "scored", "scored"]


def test_again_sends_what_was_scored(submit):
    site = MemorySite()
    first, second = submit(site), submit(site, again=True)
    assert (first.ref, second.ref) == (100, 101) and submit(site) == second
    assert [one["ref"] for one in submit.log.outcomes("1a2b")] == [100, 101]


@pytest.mark.parametrize("again", [False, True])
def test_again_that_was_killed_is_finished_once(submit, again):
    for point, sent in ((2, 1), (3, 2)):  # as it begins to send, or before the answer
        site = MemorySite(f"c{point}")
        submit(site)
        site.events = [None] * point + [Killed()]
        with pytest.raises(Killed):
            submit(site, again=True)
        assert len(site.files) == sent
        assert submit(site, again=again).ref == 101 and len(site.files) == 2


def test_what_another_machine_sent_is_not_sent_once_more(submit):
    site = MemorySite(files=["demo-1a2b.csv", "demo-1a2b.csv", "demo-else.csv"])
    assert submit(site).ref == 101 and len(site.files) == 3
    assert submit(site, again=True).ref == 103


def test_a_rejected_file_has_its_reason_every_time(submit):
    site = MemorySite(outcome=SubmissionState(0, "error"))
    for _ in range(2):
        with pytest.raises(StageError, match=r"c rejected .*demo-1a2b\.csv, no\. 100: why; --again"):
            submit(site)
    assert len(site.files) == 1 and submit.log.entries()[-1].reason == "why"
    site.outcome = SubmissionState(0, "complete", 0.5)
    assert submit(site, again=True).ref == 101


def test_a_refused_file_is_tried_again_by_the_same_command(submit):
    site = MemorySite(events=[None, None, Refused("your daily limit is 5")])
    with pytest.raises(StageError, match=r"demo-1a2b\.csv was not submitted to c: your daily limit is 5"):
        submit(site)
    assert submit.log.entries()[-1].status == "refused" and submit.log.outcomes("1a2b") == []
    assert submit(site).ref == 100


def test_a_lost_network_says_that_the_file_is_safe(submit):
    site = MemorySite(events=[None, None, Unavailable("no route")])
    with pytest.raises(StageError, match=r"demo-1a2b\.csv .*no route; the file is safe there, and the same command"):
        submit(site)
    site.events = [None, None, None, None, Unavailable("no route")]
    with pytest.raises(StageError, match=r"is submitted to c, no\. 100.*no route; the same command asks again"):
        submit(site)
    assert submit(site).status == "complete" and len(site.files) == 1


@settings(max_examples=100, deadline=None)
@given(
    runs=st.lists(
        st.tuples(st.booleans(), st.lists(st.sampled_from([None, None, None, "killed", "lost"]), max_size=6)),
        max_size=5,
    )
)
def test_wherever_runs_end_each_is_sent_once(tmp_path_factory, runs):
    """Runs, with --again or not, that are killed or lose the network in calls: as many submissions as were finished."""
    log, site = SubmissionLog(tmp_path_factory.mktemp("log")), MemorySite()
    path = log.path.parent / "demo-1a2b.csv"
    allowed = 1
    for again, events in [*runs, (False, [])]:
        last = (log.of("1a2b", "c") or [None])[-1]
        allowed += again and last is not None and last.status == "complete"
        site.events = [{None: None, "killed": Killed(), "lost": Unavailable("lost")}[event] for event in events]
        try:
            entry = submit_once(path, "1a2b", "m", site, log, again)
        except (Killed, StageError):
            continue
        assert entry.ref == site.all()[-1][0] and entry.status == "complete"
    assert 1 <= len(site.files) <= allowed
    assert len({one["ref"] for one in log.outcomes("1a2b")}) == len(log.outcomes("1a2b"))


def test_two_commands_at_once_do_not_send_both(submit):
    with locked(submit.log.path), pytest.raises(StageError, match="another process is at work"):
        submit(MemorySite())
