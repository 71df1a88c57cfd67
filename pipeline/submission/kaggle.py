"""Kaggle: a competition as its user sees it, through the site's own package."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import requests
import urllib3
from requests.adapters import HTTPAdapter
from tqdm import tqdm

from pipeline.config.errors import StageError
from pipeline.submission.kaggle_client import NEW_TOKEN, SEND, Lost, client, contained, credentials, imported
from pipeline.submission.log import State
from pipeline.transfer.source import Refused, RetryPolicy, Unavailable, retry_after

T = TypeVar("T")

_CONNECT = 30.0
"""Seconds in which a connection is made, or takes a piece of a file."""
_PAUSES = (2.0, 30.0)
"""Seconds between two questions for a score: the first, doubled each time up to the last."""
_PAGE = 100
"""Submissions in one answer."""
_PASSING = (408, 425, 429)
_RETRY_POLICY = RetryPolicy(attempts=6, longest=30.0)

# ------------------------------------------------------------------------------------------------------------ the site


class Kaggle:
    """A competition, a Site; $KAGGLE_API_ENVIRONMENT says which of Kaggle's servers has it, by default the real one.

    Nothing that the package prints is shown, and no message holds a credential.

    Args:
        competition: its name, as in its address.
        retry_policy: with a network that fails.
        silence: seconds without an answer after which a connection counts as lost.

    Raises:
        StageError: the package is not installed, or there are no credentials.
    """

    def __init__(self, competition: str, retry_policy: RetryPolicy = _RETRY_POLICY, silence: float = 60.0):
        self.competition = competition
        self._retry_policy, self._silence = retry_policy, silence
        package = imported()
        found = credentials(package)
        self._source, self._keys = found.source, found.keys
        if found.login:
            try:
                # It makes a token; the package's own way would write that down.
                self._keys = {"api_token": self._persist(lambda: found.login.generate_access_token().token)}
            except (Refused, Unavailable) as error:
                raise StageError(f"there is no token from {found.source}: {error}") from error
        self._api = client(package, self._keys, retry_policy)

    def named(self, path: Path) -> list[State]:
        """The submissions of files of this name and size, the latest first; raises Unavailable or Refused."""
        return self._persist(lambda: self._named(path))

    def send(self, path: Path, message: str, known: set[int]) -> int:
        """The number of a new submission of a file; those known are not it; raises Unavailable or Refused.

        An upload goes on where it was when the network failed.
        """
        begun = False

        def once() -> int:
            nonlocal begun
            # The last time it may have come through, and only the answer was lost.
            fresh = [state.ref for state in self._named(path) if state.ref not in known] if begun else []
            if fresh:
                return fresh[0]
            begun = True
            answer = self._api.competition_submit(str(path), message, self.competition)
            if answer.message == self._api.COMPETITION_SUBMIT_UPLOAD_FAILED_MESSAGE or not answer.ref:
                raise Unavailable("the site did not take the file")
            return answer.ref

        try:
            return self._persist(once)
        except Lost as error:
            raise Unavailable(str(error)) from None

    def scored(self, ref: int, wait: float) -> State:
        """A submission, when it has a score or so many seconds are over; raises Unavailable or Refused."""
        end, pause = time.monotonic() + wait, _PAUSES[0]
        with tqdm(total=round(wait), desc="waiting for the score", unit="s", delay=1, leave=False) as bar:
            while True:
                state = self._persist(lambda: self._numbered(ref))
                left = end - time.monotonic()
                if state.status != "pending" or left <= 0:
                    return state
                time.sleep(min(pause, left))
                pause = min(2 * pause, _PAUSES[1])
                bar.update(round(wait - max(0.0, end - time.monotonic())) - bar.n)

    def _named(self, path: Path) -> list[State]:
        size = path.stat().st_size
        return [
            _state(listed)
            for listed in self._submissions()
            if listed.file_name == path.name and listed.total_bytes in (0, size)
        ]

    def _numbered(self, ref: int) -> State:
        for listed in self._submissions():
            if listed.ref == ref:
                return _state(listed)
        raise Refused(f"the site lists no submission no. {ref}")

    def _submissions(self) -> Iterator[Any]:
        """All, the latest first."""
        seen: set[int] = set()
        for page in itertools.count(1):
            listed = self._api.competition_submissions(self.competition, page_number=page, page_size=_PAGE)
            fresh = [submission for submission in listed or () if submission and submission.ref not in seen]
            yield from fresh
            seen |= {submission.ref for submission in fresh}
            if not fresh:
                return

    # ------------------------------------------------------------------------------------------------- its failures

    def _persist(self, action: Callable[[], T]) -> T:
        def once() -> T:
            with self._explained(), contained(self._send):
                return action()

        return self._retry_policy.call(once)

    def _send(self, adapter: HTTPAdapter, request: requests.PreparedRequest, **settings: Any) -> requests.Response:
        """With a time limit, where the package has none; retries are for `RetryPolicy` to make."""
        adapter.max_retries = urllib3.Retry(0, read=False)
        return SEND(adapter, request, **{**settings, "timeout": (_CONNECT, self._silence)})

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """The errors of the package, and of the libraries below it, become Unavailable or Refused."""
        try:
            yield
        except requests.HTTPError as error:
            status, reason = _answer(error.response)
            said = self._hidden(f"the site answers {status}: {reason}")
            if status in _PASSING or status >= 500:
                raise Unavailable(said, retry_after(error.response.headers)) from None
            raise Refused(f"{said}{self._remedy(status)}") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
            raise Unavailable(self._hidden(f"{type(error).__name__}: {error}")) from None
        except (ValueError, TypeError, KeyError, AttributeError, SystemExit) as error:
            message = f"the site gives an answer that makes no sense ({type(error).__name__}: {error})"
            raise Unavailable(self._hidden(message)) from None

    def _remedy(self, status: int) -> str:
        if status == 401:
            return f"; the credentials from {self._source} are expired or wrong: {NEW_TOKEN}"
        if status == 403:
            rules = f"accept the rules at https://www.kaggle.com/competitions/{self.competition}/rules"
            return f"; {rules}, or, if the credentials from {self._source} are expired, {NEW_TOKEN}"
        if status == 404:
            return f"; is there a competition {self.competition}, and does it still take submissions?"
        return ""

    def _hidden(self, text: str) -> str:
        """A text without credentials, should one have got into it."""
        for name, secret in self._keys.items():
            text = text if name == "username" else text.replace(secret, "***")
        return text


def _state(listed: Any) -> State:
    def score(text: str) -> float | None:
        return float(text) if text else None

    scores = score(listed.public_score), score(listed.private_score)
    return State(listed.ref, listed.status.name.lower(), *scores, listed.error_description)


def _answer(response: requests.Response) -> tuple[int, str]:
    """Status and reason; the site may say both in the body."""
    try:
        body = response.json()
        return int(body.get("code", response.status_code)), str(body["message"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return response.status_code, response.reason
