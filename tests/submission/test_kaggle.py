"""Submissions through Kaggle's own package, against a server in another process that fails."""

import dataclasses
import json
import random
import time
import types
from pathlib import Path
from uuid import uuid4

import pytest
from servers.kaggle_server import REFRESH, Fault, Site, kaggle_site

from pipeline.config.errors import StageError
from pipeline.runtime.output import printable
from pipeline.submission import kaggle, kaggle_client
from pipeline.submission.kaggle import Kaggle
from pipeline.submission.log import LogEntry, SubmissionLog, SubmissionState
from pipeline.transfer.source import Refused, RetryPolicy, Unavailable

PATIENCE = RetryPolicy(attempts=3, pause=0.01)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with kaggle_site(tmp_path_factory.mktemp("kaggle"), page=2) as site:
        yield site


@pytest.fixture
def site(server, tmp_path, monkeypatch) -> Site:
    """The site, and no credentials in the environment."""
    server.forget()
    for name, value in server.environment(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "home"))
    monkeypatch.setattr(kaggle, "_PAUSES", (0.01, 0.02))
    return server


@pytest.fixture
def token(site, monkeypatch) -> str:
    monkeypatch.setenv("KAGGLE_API_TOKEN", site.script.token)
    return site.script.token


@pytest.fixture
def competition(token) -> Kaggle:
    """A competition that nobody has submitted to, with a token in the environment."""
    return Kaggle(f"test-{uuid4().hex}", PATIENCE, silence=1)


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "demo-1a2b3c4d.csv"
    path.write_bytes(b"VideoId,LabelConfidencePairs\n" + random.Random(1).randbytes(300_000))
    return path


def kinds(site: Site) -> list[str]:
    return [line["kind"] for line in site.seen()]


# ------------------------------------------------------------------------------------------------------------- sending


def test_a_file_gets_there_with_its_name_message_and_bytes(site, competition, file, capfd):
    assert competition.named(file) == []
    ref = competition.send(file, "the best: 0.87, übrigens", set())
    (there,) = site.submissions(competition.competition)
    assert (there["ref"], there["file"], there["message"]) == (ref, file.name, "the best: 0.87, übrigens")
    assert there["bytes"] == file.read_bytes()
    assert kinds(site) == ["List", "Start", "Put", "Create"], "more is asked than needed"
    assert all(line["authorised"] == (line["kind"] != "Put") for line in site.seen()), "the upload's address suffices"
    assert all(line["address"].startswith("http://localhost:7777/") for line in site.seen())
    output = capfd.readouterr()
    assert output.out == "" and "293k/293k" in output.err, "not the bar of the upload alone"


def test_files_of_another_name_or_size_are_not_it(site, competition, file, tmp_path):
    first = competition.send(file, "", set())
    same = tmp_path / "other" / file.name
    same.parent.mkdir()
    same.write_bytes(b"shorter")
    other = file.rename(tmp_path / "demo-0.csv")
    assert competition.named(other) == competition.named(same) == []
    second = competition.send(other, "", set())
    other.rename(file)
    third = competition.send(file, "", {first})
    assert [state.ref for state in competition.named(file)] == [third, first] != [second]


@pytest.mark.parametrize("kind", ["List", "Start", "Create"])
@pytest.mark.parametrize(
    "fault",
    [
        {"reset": True},
        {"lost": True},
        {"status": 503},
        {"status": 429, "after": "0"},
        {"status": 500, "message": "internal"},
        {"page": True},
        {"silent": True},
    ],
    ids=["reset", "lost", "503", "429", "500", "page", "silent"],
)
def test_a_failure_is_tried_again_and_submits_once(site, competition, file, kind, fault):
    if "silent" in fault:
        competition = Kaggle(competition.competition, PATIENCE, silence=0.2)
    begun = time.monotonic()
    site.fail(Fault(kind, **fault))
    assert competition.named(file) == []
    ref = competition.send(file, "m", set())
    (there,) = site.submissions(competition.competition)
    assert (there["ref"], there["bytes"]) == (ref, file.read_bytes()) and not site.left()
    assert kinds(site).count("Put") == 1 + (kind == "Create" and "lost" not in fault)
    assert time.monotonic() - begun < 30, "a silent server was waited for"


@pytest.mark.parametrize(
    ("faults", "ranges"),
    [
        ([Fault("Put", reset=True)], ["", "*", "150014-300028"]),
        ([Fault("Put", status=503)], ["", "*", ""]),
        ([Fault("Put", lost=True)], ["", "*"]),
        (
            [Fault("Put", status=503), Fault("Put", status=308), Fault("Put", reset=True)],
            ["", "*", "", "*", "150014-300028"],
        ),
        ([Fault("Put", status=403)], ["", ""]),
    ],
    ids=["reset", "503", "lost", "twice", "403"],
)
def test_an_upload_goes_on_where_it_was(site, competition, file, faults, ranges):
    """The whole, the question how much is there, the rest; and the whole at a new address, where one is not served."""
    site.fail(*faults)
    competition.send(file, "", set())
    (there,) = site.submissions(competition.competition)
    assert there["bytes"] == file.read_bytes() and len(there["bytes"]) == 300_029 and not site.left()
    assert [line["range"] for line in site.seen("Put")] == [asked and f"bytes {asked}/300029" for asked in ranges]
    assert len({line["address"] for line in site.seen("Put")}) == kinds(site).count("Start") == 1 + (ranges == ["", ""])


def test_what_was_submitted_before_is_not_taken_for_a_lost_answer(site, competition, file):
    old = competition.send(file, "first", set())
    site.fail(Fault("Create", reset=True), Fault("Create", lost=True))
    new = competition.send(file, "second", {old})
    assert [one["message"] for one in site.submissions(competition.competition)] == ["first", "second"] and new != old


@pytest.mark.parametrize("kind", ["List", "Start", "Put", "Create"])
def test_a_network_that_stays_away_ends_it(site, competition, file, kind):
    site.fail(*[Fault(kind, reset=True)] * 20)
    with pytest.raises(Unavailable) as caught:
        competition.named(file)
        competition.send(file, "", set())
    assert "/upload/" not in str(caught.value), "an address where anybody could upload"
    assert kinds(site).count(kind) <= 2 * PATIENCE.attempts and not site.submissions(competition.competition)


def test_a_file_that_is_not_taken_names_the_sites_reason_and_is_not_sent_again(site, competition, file):
    site.fail(Fault("Create", status=400, message="Submission not allowed: your daily limit is 5"))
    with pytest.raises(Refused, match="answers 400: Submission not allowed: your daily limit is 5"):
        competition.send(file, "", set())
    assert kinds(site) == ["Start", "Put", "Create"]


# --------------------------------------------------------------------------------------------------------- the outcome


def test_a_score_is_waited_for(site, competition, file):
    ref = competition.send(file, "", set())
    site.settle(competition.competition, 3, status="COMPLETE", publicScore="0.87123", privateScore="0.86999")
    assert competition.scored(ref, 0) == SubmissionState(ref, "pending")
    assert competition.scored(ref, 10) == SubmissionState(ref, "complete", 0.87123, 0.86999)
    assert kinds(site).count("List") == 4


def test_a_score_that_is_hidden_is_none(site, competition, file):
    ref = competition.send(file, "", set())
    site.settle(competition.competition, status="COMPLETE", publicScore="0.5", privateScore="")
    assert competition.scored(ref, 0) == SubmissionState(ref, "complete", 0.5, None)


def test_a_rejected_file_has_the_sites_reason(site, competition, file):
    ref = competition.send(file, "", set())
    site.settle(competition.competition, status="ERROR", errorDescription="line 7: unknown id 'x'")
    assert competition.scored(ref, 10) == SubmissionState(ref, "error", reason="line 7: unknown id 'x'")


def test_waiting_is_bounded(site, competition, file):
    ref, begun = competition.send(file, "", set()), time.monotonic()
    assert competition.scored(ref, 0.3).status == "pending"
    assert 0.3 <= time.monotonic() - begun < 3


def test_a_failure_while_waiting_is_tried_again(site, competition, file):
    ref = competition.send(file, "", set())
    site.settle(competition.competition, status="COMPLETE", publicScore="0.5")
    site.fail(Fault("List", status=503), Fault("List", reset=True))
    assert competition.scored(ref, 0).public_score == 0.5


def test_older_submissions_are_found_on_later_pages(site, competition, file):
    refs = []
    for _ in range(5):
        refs.append(competition.send(file, "", set(refs)))
    assert [state.ref for state in competition.named(file)] == refs[::-1]
    assert [competition.scored(ref, 0).ref for ref in refs] == refs
    with pytest.raises(Refused, match=r"lists no submission no\. 7"):
        competition.scored(7, 0)


CONTROLS = "\x1b]0;owned\x07\x1b[2J\r\b\x9b31m\u202egnp.\u2066"


@pytest.mark.parametrize(
    "outcome",
    [
        *({"status": each} for each in (7, None, "UNHEARD_OF", CONTROLS, ["COMPLETE"], {})),
        *({"status": "COMPLETE", "publicScore": each} for each in ("1e999", "nan", "x" * 9999, 0.5, {}, [1], CONTROLS)),
        *({"ref": each} for each in ("x", 10**400, -1, 0, None, [1], {}, 1.5, True)),
        *({"totalBytes": each} for each in ("many", 10**400, [1], {})),
        *({name: each} for name in ("fileName", "date", "errorDescription") for each in (7, [CONTROLS], {}, 10**400)),
    ],
    ids=lambda outcome: str(outcome)[:40],
)
def test_an_answer_of_other_types_or_sizes_is_an_error_or_a_state_that_the_log_holds(outcome, site, competition, file):
    ref, log = competition.send(file, "", set()), SubmissionLog(file.parent)
    entry = LogEntry(file.name, "0" * 64, competition.competition, "", "pending", ref)
    site.settle(competition.competition, **{"status": "ERROR", **outcome})
    try:
        found = [competition.scored(ref, 0), *competition.named(file)]
    except (Unavailable, Refused) as error:
        assert len(str(error)) < 1000
        return
    for state in found:
        noted = entry.now(**dataclasses.asdict(state))
        log.append(noted)
        assert log.entries()[-1] == noted


def test_what_the_site_says_is_one_short_line_of_what_can_be_shown(site, competition, file):
    ref = competition.send(file, "", set())
    site.settle(competition.competition, status="ERROR", errorDescription=CONTROLS + "\n" + "x" * 1_000_000)
    told = [competition.scored(ref, 0).reason]
    site.fail(Fault("List", status=400, message=CONTROLS + "x" * 1_000_000))
    with pytest.raises(Refused) as refused:
        competition.named(file)
    for text in (*told, str(refused.value)):
        assert len(text) < 1000 and printable(text) == text and "\n" not in text and "owned" in text, text[:300]


def test_an_endless_answer_and_endless_pages_come_to_an_end(site, competition, file, monkeypatch):
    ref = competition.send(file, "", set())
    with monkeypatch.context() as patch:
        patch.setattr(kaggle_client, "_MOST_BYTES", 100)
        with pytest.raises(Unavailable, match="an answer of more than"):
            competition.scored(ref, 0)
    asked = []

    class Endless:
        def __init__(self, request):
            asked.append(request.page)
            self.submissions = [types.SimpleNamespace(ref=len(asked))]

    monkeypatch.setattr(competition._api, "list_submissions", Endless)
    with pytest.raises(Refused, match="lists no submission"):
        competition.scored(-1, 0)
    assert len(asked) == 1000


# --------------------------------------------------------------------------------------------------------- credentials


def test_credentials_are_found_where_the_package_finds_them(site, tmp_path, monkeypatch):
    home, script = tmp_path / "home", site.script

    def source() -> str:
        found = Kaggle("c", PATIENCE)
        assert found.named(home) == [] and site.seen()[-1]["authorised"]
        return found._source

    login = home / ".kaggle" / "credentials.json"
    login.parent.mkdir()
    login.write_text(json.dumps({"refresh_token": REFRESH, "username": "x", "access_token": "old"}))
    before = login.read_bytes()
    assert source() == "`kaggle auth login`" and login.read_bytes() == before
    (home / "kaggle.json").write_text(json.dumps({"username": script.username, "key": script.key}))
    monkeypatch.setenv("KAGGLE_KEY", "")
    assert source() == str(home / "kaggle.json")
    (home / "kaggle.json").write_text(json.dumps({"username": script.username, "key": "wrong"}))
    monkeypatch.setenv("KAGGLE_KEY", script.key)
    assert source() == "$KAGGLE_KEY"
    monkeypatch.delenv("KAGGLE_KEY")
    (home / ".kaggle" / "access_token").write_text(script.token + "\n")
    assert source() == "~/.kaggle/access_token"
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(home / ".kaggle" / "access_token"))
    assert source() == "$KAGGLE_API_TOKEN"


def test_without_credentials_it_says_how_to_get_them(site):
    with pytest.raises(StageError, match=r"no credentials.*kaggle\.com/settings/api.*KAGGLE_API_TOKEN.*kaggle\.json"):
        Kaggle("c")
    assert site.seen() == []


@pytest.mark.parametrize("kind", ["List", "Start", "Create"])
@pytest.mark.parametrize(("status", "remedy"), [(401, "are expired or wrong"), (403, "/rules")])
def test_an_expired_token_is_told_and_not_tried_again(site, competition, file, kind, status, remedy):
    message = f"no such token: {site.script.token}"
    site.fail(Fault(kind, status=status, message=message))
    with pytest.raises(Refused, match=rf"{status}.*{remedy}.*\$KAGGLE_API_TOKEN.*settings/api|{remedy}") as caught:
        competition.named(file)
        competition.send(file, "", set())
    assert kinds(site).count(kind) == 1
    assert site.script.token not in str(caught.value) and "no such token: ***" in str(caught.value)
    assert "$KAGGLE_API_TOKEN" in str(caught.value) and "settings/api" in str(caught.value)


def test_a_wrong_token_is_refused_by_the_site(site, file, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_other")
    with pytest.raises(Refused, match=r"401: Unauthenticated.*KAGGLE_API_TOKEN are expired or wrong"):
        Kaggle("c", PATIENCE).named(file)


def test_a_log_in_that_has_expired_is_told_and_kept(site, tmp_path):
    login = tmp_path / "home" / ".kaggle" / "credentials.json"
    login.parent.mkdir()
    login.write_text(json.dumps({"refresh_token": "old-one", "username": "x"}))
    with pytest.raises(StageError, match=r"`kaggle auth login` gave no token: .*401"):
        Kaggle("c", PATIENCE)
    assert login.exists()


@pytest.mark.parametrize("value", ["KGAT_a b", "KGAT_a\nb", "KGAT_ü", "KGAT_" + "x" * 300])
def test_a_token_that_is_none_is_never_shown(site, monkeypatch, value):
    monkeypatch.setenv("KAGGLE_API_TOKEN", value)
    with pytest.raises(StageError, match="credentials") as caught:
        Kaggle("c", PATIENCE)
    assert "KGAT" not in str(caught.value) and site.seen() == []


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"username": "x"}', '{"username": "x", "key": 5}', "\xff"])
def test_a_damaged_kaggle_json(site, tmp_path, capfd, content):
    (tmp_path / "home" / "kaggle.json").write_text(content, encoding="latin-1")
    with pytest.raises(StageError, match=r"credentials"):
        Kaggle("c", PATIENCE)
    assert capfd.readouterr() == ("", "")


def test_an_unknown_competition(site, competition, file):
    site.fail(Fault("List", status=404, message="Not found"))
    with pytest.raises(Refused, match=f"404: Not found; is there a competition {competition.competition}"):
        competition.named(file)
