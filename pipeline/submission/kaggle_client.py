"""Kaggle's own package, kept from what a library should not do: log in on import, print, retry, wait for ever."""

import contextlib
import importlib.util
import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from pipeline.config.errors import StageError
from pipeline.transfer.source import RetryPolicy, Unavailable

NEW_TOKEN = "make a new token at https://www.kaggle.com/settings/api"
_LOG_IN = (
    f"{NEW_TOKEN} and put it into $KAGGLE_API_TOKEN or the file ~/.kaggle/access_token; `kaggle auth login`, a "
    "kaggle.json in ~/.kaggle, or $KAGGLE_USERNAME and $KAGGLE_KEY do as well"
)
_INSTALL = "--kaggle needs the package kaggle: `.venv/bin/uv sync --inexact --extra kaggle` installs it"
SEND = HTTPAdapter.send
"""What sends a request, whoever makes it."""


@contextlib.contextmanager
def contained(send: Callable[..., requests.Response]) -> Iterator[None]:
    """Inside the block nothing is printed, and requests go through `send(adapter, request, **settings)`."""
    HTTPAdapter.send = lambda adapter, request, **settings: send(adapter, request, **settings)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        HTTPAdapter.send = SEND


def _refuse(*arguments: Any, **settings: Any) -> requests.Response:
    raise requests.ConnectionError("this is no time to ask the site")


def imported() -> Any:
    """The package's class KaggleApi; raises StageError where it is not installed."""
    if importlib.util.find_spec("kaggle") is None:
        raise StageError(_INSTALL)
    # When it is imported it logs in, at the real site whatever $KAGGLE_API_ENVIRONMENT says; told to be verbose, it has
    # every request of the process logged, with addresses that let anybody upload.
    verbose = {name: os.environ.pop(name) for name in ("VERBOSE", "VERBOSE_OUTPUT") if name in os.environ}
    try:
        with contained(_refuse):
            from kaggle.api.kaggle_api_extended import KaggleApi
    except (ImportError, OSError) as error:
        raise StageError(f"the package kaggle cannot be used: {type(error).__name__}: {error}") from error
    finally:
        os.environ.update(verbose)
    return KaggleApi


@dataclass(frozen=True)
class Credentials:
    """How the user is known to the site."""

    source: str
    """Where that was found."""
    keys: dict[str, str] = field(repr=False, default_factory=dict)
    """What a client takes: an api_token, or username and password."""
    login: Any = field(repr=False, default=None)
    """A log-in that makes tokens, instead."""


def credentials(api: Any) -> Credentials:
    """The user's, looked for where the package looks, in its order; raises StageError if there are none.

    Its own `authenticate` passes over an expired token, deletes an expired log-in, and ends the process.
    """
    from kagglesdk import KaggleClient
    from kagglesdk.kaggle_creds import KaggleCredentials
    from kagglesdk.kaggle_env import get_access_token_from_env

    try:
        with contained(_refuse):
            token, source = get_access_token_from_env()
            settings = api().read_config_environment(api().read_config_file(quiet=True))
            login = KaggleCredentials.load(KaggleClient())
    except Exception as error:  # the message may hold what was read
        raise StageError(f"credentials for Kaggle cannot be read ({type(error).__name__}): {_LOG_IN}") from None
    if token:
        own = source == "KAGGLE_API_TOKEN"
        found = Credentials("$KAGGLE_API_TOKEN" if own else "~/.kaggle/access_token", {"api_token": token.strip()})
    elif settings.get("username") and settings.get("key"):
        own = "KAGGLE_KEY" in os.environ
        keys = {"username": settings["username"], "password": settings["key"]}
        found = Credentials("$KAGGLE_KEY" if own else api.config, keys)
    elif login:
        found = Credentials("`kaggle auth login`", login=login)
    else:
        raise StageError(f"there are no credentials for Kaggle: {_LOG_IN}")
    if not all(isinstance(value, str) and re.fullmatch(r"[!-~]+", value) for value in found.keys.values()):
        raise StageError(f"the credentials from {found.source} are no text without spaces: copy them anew")
    return found


class Lost(Exception):
    """An upload was given up."""


def client(api: Any, keys: dict[str, str], retry_policy: RetryPolicy) -> Any:
    """A KaggleApi for the server of $KAGGLE_API_ENVIRONMENT; its uploads go on after a failure, or raise Lost."""
    from kaggle.models.kaggle_models_extended import ResumableUploadResult
    from kagglesdk import KaggleClient

    class Client(api):
        def build_kaggle_client(self) -> KaggleClient:
            return KaggleClient(**keys)  # the package's own is for the real site whatever the environment says

        def upload_complete(self, path: str, url: str, quiet: bool, resume: bool = False) -> int:
            begun = resume

            def once() -> int:
                nonlocal begun
                result = super(Client, self).upload_complete(path, url, quiet, resume=begun)
                begun = True
                if result == ResumableUploadResult.INCOMPLETE:
                    raise Unavailable("the connection was lost")
                return result

            try:
                return retry_policy.call(once)
            except Unavailable:
                raise Lost(f"the file did not get through in {retry_policy.attempts} attempts") from None

    return Client()
