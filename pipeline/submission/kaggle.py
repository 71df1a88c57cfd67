"""Submit to a Kaggle competition, through Kaggle's own package."""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar, get_args

import requests
from kagglesdk.competitions.types.competition_api_service import (
    ApiCreateSubmissionRequest,
    ApiCreateSubmissionResponse,
    ApiListSubmissionsRequest,
    ApiStartSubmissionUploadRequest,
    ApiSubmission,
)

from pipeline.config.errors import StageError
from pipeline.runtime.output import shown
from pipeline.runtime.progress import progress_bar
from pipeline.submission.kaggle_client import NEW_TOKEN, client, credentials
from pipeline.submission.log import Status, SubmissionState
from pipeline.submission.upload import Upload
from pipeline.transfer.source import Refused, RetryPolicy, Unavailable, retry_after

T = TypeVar("T")

_PAUSES = (2.0, 30.0)
"""The first and the longest pause between two requests for a score, in seconds; it doubles each time."""
_PAGE = 100
"""The number of submissions in one answer."""
_MOST_PAGES = 1000
_LONGEST = 500
"""Characters of what the site says that are told and noted."""
_PASSING = (408, 425, 429)
_RETRY_POLICY = RetryPolicy(attempts=6, longest=30.0)


class Kaggle:
    """A competition, as a Site; $KAGGLE_API_ENVIRONMENT chooses Kaggle's server, by default the real one.

    No message holds a credential.

    Args:
        competition: the name in its address.
        retry_policy: how requests are tried again when the network fails.
        silence: seconds without an answer after which a connection counts as lost.

    Raises:
        StageError: there are no credentials.
    """

    def __init__(self, competition: str, retry_policy: RetryPolicy = _RETRY_POLICY, silence: float = 60.0):
        self.competition = competition
        self._retry_policy, self._silence = retry_policy, silence
        self._source, keys = credentials(silence)
        self._keys: dict[str, str] = {}
        try:
            self._keys = self._persist(keys)
        except (Refused, Unavailable) as error:
            raise StageError(f"{self._source} gave no token: {error}") from error
        self._api = client(self._keys, silence).competitions.competition_api_client

    def named(self, path: Path) -> list[SubmissionState]:
        """Return the submissions of files of this name and size, the latest first; raises Unavailable or Refused."""
        return self._persist(lambda: self._named(path))

    def send(self, path: Path, message: str, known: set[int]) -> int:
        """Submit a file and return the submission's number; raises Unavailable or Refused.

        An upload resumes after the network failed. Submissions with a `known` number are not taken for the new one.
        """
        upload, asked = Upload(path, lambda: self._start(path), self._silence), False

        def once() -> int:
            nonlocal asked
            # The last request may have succeeded, with only its answer lost.
            fresh = [state.ref for state in self._named(path) if state.ref not in known] if asked else []
            if fresh:
                return fresh[0]
            request = ApiCreateSubmissionRequest()
            request.competition_name, request.blob_file_tokens = self.competition, upload.run()
            request.submission_description = message or None
            asked = True
            return _ref(self._api.create_submission(request))

        return self._persist(once)

    def scored(self, ref: int, wait: float) -> SubmissionState:
        """Wait up to `wait` seconds for a submission's score; return its state. Raises Unavailable or Refused."""
        end, pause = time.monotonic() + wait, _PAUSES[0]
        with progress_bar(total=round(wait), desc="waiting for the score", unit="s", delay=1, leave=False) as bar:
            while True:
                state = self._persist(lambda: self._numbered(ref))
                left = end - time.monotonic()
                if state.status != "pending" or left <= 0:
                    return state
                time.sleep(min(pause, left))
                pause = min(2 * pause, _PAUSES[1])
                bar.update(round(wait - max(0.0, end - time.monotonic())) - bar.n)

    def _named(self, path: Path) -> list[SubmissionState]:
        size = path.stat().st_size
        return [
            _state(listed)
            for listed in self._submissions()
            if listed.file_name == path.name and listed.total_bytes in (0, size)
        ]

    def _numbered(self, ref: int) -> SubmissionState:
        for listed in self._submissions():
            if listed.ref == ref:
                return _state(listed)
        raise Refused(f"the site lists no submission no. {ref}")

    def _start(self, path: Path) -> tuple[str, str]:
        """Begin an upload: return its token and its address."""
        request, stat = ApiStartSubmissionUploadRequest(), path.stat()
        request.competition_name, request.file_name = self.competition, path.name
        request.content_length, request.last_modified_epoch_seconds = stat.st_size, int(stat.st_mtime)
        answer = self._api.start_submission_upload(request)
        return answer.token, answer.create_url

    def _submissions(self) -> Iterator[ApiSubmission]:
        """Yield all submissions, the latest first."""
        request, seen = ApiListSubmissionsRequest(), set()
        request.competition_name, request.page_size = self.competition, _PAGE
        for request.page in range(1, _MOST_PAGES + 1):
            listed = self._api.list_submissions(request).submissions or ()
            fresh = [submission for submission in listed if submission.ref not in seen]
            yield from fresh
            seen |= {submission.ref for submission in fresh}
            if not fresh:
                return

    def _persist(self, action: Callable[[], T]) -> T:
        """Return the action's result; the package's errors become Unavailable, which is tried again, or Refused."""

        def once() -> T:
            try:
                return action()
            except requests.HTTPError as error:
                status, reason = _answer(error.response)
                said = self._hidden(f"the site answers {status}: {reason}")
                if status in _PASSING or status >= 500:
                    raise Unavailable(said, retry_after(error.response.headers)) from None
                raise Refused(f"{said}{self._remedy(status)}") from None
            except requests.RequestException as error:
                raise Unavailable(self._hidden(f"{type(error).__name__}: {error}")) from None
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                message = f"the site gives an answer that makes no sense ({type(error).__name__}: {error})"
                raise Unavailable(self._hidden(message)) from None

        return self._retry_policy.call(once)

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
        """Return a text with any credentials in it replaced by ***, of bounded length."""
        for name, secret in self._keys.items():
            text = text if name == "username" else text.replace(secret, "***")
        return _told(text)


def _told(text: str) -> str:
    """Return what the site says as it may be noted: one line without control characters, of bounded length."""
    text = " ".join(shown(text).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ... ({len(text):,} characters)"


def _state(listed: ApiSubmission) -> SubmissionState:
    """Return the state of a submission. Raises ValueError where it is none that a log can hold."""
    scores = _score(listed.public_score), _score(listed.private_score)
    status = listed.status.name.lower()
    if status not in get_args(Status):
        raise ValueError(f"a submission is {status}")
    return SubmissionState(_ref(listed), status, *scores, _told(listed.error_description or ""))


def _ref(answer: ApiSubmission | ApiCreateSubmissionResponse) -> int:
    """Return the number of a submission. Raises ValueError if it is none."""
    if type(answer.ref) is not int or not 0 < answer.ref < 1 << 63:
        raise ValueError("a submission has no number")
    return answer.ref


def _score(text: str) -> float | None:
    if not text:
        return None
    if not math.isfinite(score := float(text)):
        raise ValueError(f"a score is {score}")
    return score


def _answer(response: requests.Response) -> tuple[int, str]:
    """Return status and reason, from the body if the site gives them there."""
    try:
        body = response.json()
        return int(body.get("code", response.status_code)), " ".join(str(body["message"]).split())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return response.status_code, response.reason
