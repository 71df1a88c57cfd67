"""A client of Kaggle's package with the user's credentials, whose requests time out."""

import contextlib
import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from kagglesdk import KaggleClient, KaggleCredentials, get_access_token_from_env

from pipeline.artifacts.stored_json import parse_json
from pipeline.config.errors import StageError

NEW_TOKEN = "make a new token at https://www.kaggle.com/settings/api"
_MOST_BYTES = 16 << 20
"""Bytes of an answer: a hundred submissions take less than a hundredth."""
_LOG_IN = (
    f"{NEW_TOKEN} and put it into $KAGGLE_API_TOKEN or the file ~/.kaggle/access_token; `kaggle auth login`, a "
    "kaggle.json in ~/.kaggle, or $KAGGLE_USERNAME and $KAGGLE_KEY do as well"
)


def client(keys: dict[str, str], timeout: float) -> KaggleClient:
    """Return a client for the server of $KAGGLE_API_ENVIRONMENT; `timeout` is in seconds without an answer."""
    made = KaggleClient(**keys)
    session = made.http_client().__enter__()._session  # the package has no setting for the time
    session.send = functools.partial(_bounded, session.send, timeout)
    return made


def _bounded(send: Callable[..., requests.Response], timeout: float, request: Any, **settings: Any) -> Any:
    """Send a request; read no more of its answer than any of the site's can have."""
    answer, content = send(request, **settings | {"timeout": timeout, "stream": True}), bytearray()
    for part in answer.iter_content(1 << 16):
        content += part
        if len(content) > _MOST_BYTES:
            answer.close()
            raise requests.exceptions.ContentDecodingError(f"an answer of more than {_MOST_BYTES >> 20} MiB")
    answer._content, answer._content_consumed = bytes(content), True
    return answer


def credentials(timeout: float) -> tuple[str, Callable[[], dict[str, str]]]:
    """Find the user's credentials: return where they were found, and a function that returns a client's keys.

    The places are those of the command `kaggle`, in its order. Raises StageError if there are none.
    """
    try:
        token, variable = get_access_token_from_env()
        file, username, key = _username_and_key()
        login = KaggleCredentials.load(client({}, timeout))
    except Exception as error:  # the message may hold what was read
        raise StageError(f"credentials for Kaggle cannot be read ({type(error).__name__}): {_LOG_IN}") from None
    if token:
        source = "$KAGGLE_API_TOKEN" if variable == "KAGGLE_API_TOKEN" else "~/.kaggle/access_token"
        keys = {"api_token": token.strip()}
    elif username and key:
        source = "$KAGGLE_KEY" if os.environ.get("KAGGLE_KEY") else str(file)
        keys = {"username": username, "password": key}
    elif login:
        # The package's own way would write the token down, and delete a log-in that has expired.
        return "`kaggle auth login`", lambda: {"api_token": login.generate_access_token().token}
    else:
        raise StageError(f"there are no credentials for Kaggle: {_LOG_IN}")
    if not all(isinstance(value, str) and re.fullmatch(r"[!-~]+", value) for value in keys.values()):
        raise StageError(f"the credentials from {source} have spaces or unprintable characters: copy them anew")
    return source, lambda: keys


def _username_and_key() -> tuple[Path, object, object]:
    """Return the path of kaggle.json, and user name and key from it or the environment; None in a damaged file."""
    home, shared = Path.home() / ".kaggle", os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    folder = os.environ.get("KAGGLE_CONFIG_DIR") or (home if home.exists() else Path(shared, "kaggle"))
    file, values = Path(folder, "kaggle.json"), {}
    with contextlib.suppress(OSError, ValueError, TypeError):
        values = dict(parse_json(file.read_bytes()))
    return file, *(os.environ.get(f"KAGGLE_{name.upper()}") or values.get(name) for name in ("username", "key"))
