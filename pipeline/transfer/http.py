"""Download files over HTTP from one address or several: if one fails, the next is asked."""

import base64
import contextlib
import dataclasses
import http.client
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import requests
import urllib3

from pipeline.transfer.source import Body, RateLimited, Refused, Remote, RetryPolicy, Source, Unavailable, retry_after

T = TypeVar("T")

_CHUNK = 1 << 18
_LARGEST = 64 << 20
"""The most bytes of a file that is read into memory: a plan of all shards has 230 kB."""
_LEAST_RATE = 1024
"""Bytes a second; a connection that is slower for a whole timeout counts as stalled."""
_BUSY = {408, 425, 429}


class Mirrors(Source):
    """Files at addresses; each attempt goes to the address that has failed least often.

    Of equal ones, it goes to the host with the fewest failures since it last worked, then to the first. A host that
    sends Retry-After is not asked before that time.

    Args:
        addresses: returns a file's addresses, the best first; no two files share one.
        timeout: seconds without a byte after which a connection counts as lost.
    """

    def __init__(self, addresses: Callable[[Remote], Sequence[str]], timeout: float = 30.0):
        self._addresses = addresses
        self._timeout = timeout
        self._sessions = threading.local()
        self._lock = threading.Lock()
        self._failed: Counter[str] = Counter()
        self._refused: dict[str, str] = {}
        self._troubles: Counter[str] = Counter()
        """Failures of each host since it last worked."""
        self._silent: dict[str, None] = {}
        """Hosts that did not answer when they were asked last."""
        self._rests: dict[str, float] = {}
        """The time from which a host may be asked again."""
        self._versions: dict[str, str] = {}
        """The value for If-Range of each address."""

    def measure(self, file: Remote) -> Remote:
        """Ask with a HEAD request for a file's size and, if it has no checksums, for those that Google's servers send.

        Raises:
            Unavailable: ask again.
            Refused: the server does not say.
        """
        url = self._choose(file)
        with self._counted(file, url), self._request("HEAD", url, {}) as response:
            if response.status_code != 200:
                raise Refused(f"{url} says {response.status_code} {response.reason}")
            file = dataclasses.replace(file, size=_length(response))
            return file if file.is_verifiable() else dataclasses.replace(file, **_checksums(response))

    @contextlib.contextmanager
    def open(self, file: Remote, offset: int = 0) -> Iterator[Body]:
        url = self._choose(file)
        with self._counted(file, url):
            try:
                with self._body(file, url, offset) as body:
                    yield body
            except Refused as error:
                with self._lock:
                    self._refused[url] = str(error)
                    if all(other in self._refused for other in self._addresses(file)):
                        raise
                raise Unavailable(str(error), after=0) from error

    def _choose(self, file: Remote) -> str:
        with self._lock:
            urls = self._addresses(file)
            left = [url for url in urls if url not in self._refused]
            if not left:
                raise Refused("; ".join(self._refused[url] for url in urls))
            if not (ready := [url for url in left if self._rest(url) <= 0]):
                raise RateLimited(f"{left[0]} asks to wait", min(map(self._rest, left)))
            return min(ready, key=lambda url: (self._failed[url], self._troubles[_host(url)]))

    def _rest(self, url: str) -> float:
        """Return the seconds for which its host must not be asked yet."""
        return self._rests.get(_host(url), 0.0) - time.monotonic()

    @contextlib.contextmanager
    def _counted(self, file: Remote, url: str) -> Iterator[None]:
        """Count a failure of the address; if another one is untried, no wait is needed before it."""
        try:
            yield
        except Unavailable as error:
            with self._lock:
                self._failed[url] += 1
                self._troubles[_host(url)] += 1
                others = [other for other in self._addresses(file) if other not in self._refused]
                if any(not self._failed[other] and self._rest(other) <= 0 for other in others):
                    error.after = 0
            raise
        with self._lock:
            self._troubles[_host(url)] = 0

    @contextlib.contextmanager
    def _request(self, method: str, url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
        """Yield the answer to a request; raise Unavailable if there is none or the server is busy."""
        if not hasattr(self._sessions, "session"):
            self._sessions.session = requests.Session()
        try:
            response = self._sessions.session.request(
                method,
                url,
                headers={"Accept-Encoding": "identity", **headers},
                stream=True,
                timeout=(min(10.0, self._timeout), self._timeout),
                allow_redirects=True,
            )
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            self._silent[_host(url)] = None
            also = f"{', '.join(self._silent)} do not answer: " if len(self._silent) > 1 else ""
            raise Unavailable(f"{also}{url} cannot be reached: {_reason(error)}") from error
        except (requests.RequestException, ValueError) as error:  # a malformed address, endless redirects
            raise Refused(f"{url} cannot be asked: {error}") from error
        self._silent.pop(_host(url), None)
        with response:
            if response.status_code in _BUSY or response.status_code >= 500:
                after = retry_after(response.headers)
                if after is not None:
                    self._rests[_host(url)] = time.monotonic() + after
                raise Unavailable(f"{url} says {response.status_code} {response.reason}", after)
            yield response

    @contextlib.contextmanager
    def _body(self, file: Remote, url: str, offset: int) -> Iterator[Body]:
        headers = {}
        version = self._versions.get(url)
        if offset and (version or file.is_verifiable()):
            headers = {"Range": f"bytes={offset}-"} | ({"If-Range": version} if version else {})
        with self._request("GET", url, headers) as response:
            if response.status_code != 416 or not headers:
                start = offset if headers and response.status_code == 206 else 0
                if start:
                    _check_range(url, response, start, file.size)
                elif response.status_code != 200:
                    raise Refused(f"{url} says {response.status_code} {response.reason}")
                else:
                    tag = response.headers.get("ETag", "W/")  # what begins so cannot tell bytes apart
                    self._versions[url] = response.headers.get("Last-Modified", "") if tag.startswith("W/") else tag
                if (encoding := response.headers.get("Content-Encoding", "identity").lower()) != "identity":
                    raise Refused(f"{url} is sent as {encoding}, although the bytes themselves were asked for")
                length = _length(response)
                size = None if length is None else start + length
                if None not in (size, file.size) and size != file.size:
                    raise Unavailable(f"{url} should have {file.size} bytes, and has {size}")
                yield Body(start, size, self._chunks(url, response))
                return
        with self._body(file, url, 0) as body:  # it has fewer bytes than were transferred: another version
            yield body

    def _chunks(self, url: str, response: requests.Response) -> Iterator[bytes]:
        since, count = time.monotonic(), 0
        try:
            while chunk := response.raw.read1(_CHUNK, decode_content=False):
                yield chunk
                count += len(chunk)
                if (seconds := time.monotonic() - since) > self._timeout:
                    if count < _LEAST_RATE * seconds:
                        raise Unavailable(f"{url} hardly sends anything")
                    since, count = time.monotonic(), 0
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            raise Unavailable(f"{url} broke off: {_reason(error)}") from error


def read_whole(source: Mirrors, file: Remote, retry_policy: RetryPolicy, parse: Callable[[bytes], T] = bytes) -> T:
    """Return the bytes of a small file, such as a plan or a table of class names, or what `parse` returns for them.

    If `parse` raises Unavailable or Refused, the next mirror is asked, as after any other fault.

    Raises:
        Unavailable: every attempt that the policy allows failed.
        Refused: no mirror has it, or it is too large.
    """

    def read() -> T:
        read = b""
        with source.open(file) as body:
            for chunk in body.chunks:
                read += chunk
                if len(read) > _LARGEST:
                    raise Refused(f"{file.name} has more than {_LARGEST >> 20} MiB")
            return parse(read)

    return retry_policy.call(read)


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]


def _length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if re.fullmatch("[0-9]{1,18}", length) else None


def _check_range(url: str, response: requests.Response, offset: int, size: int | None) -> None:
    """Raise Unavailable if a partial answer has other bytes than were asked for."""
    told = response.headers.get("Content-Range", "")
    if not told.startswith(f"bytes {offset}-"):
        raise Unavailable(
            f"{url} was asked for the bytes from {offset} on, and sends {told or 'it does not say which'}"
        )
    if size is not None and told not in (f"bytes {offset}-{size - 1}/{size}", f"bytes {offset}-{size - 1}/*"):
        raise Unavailable(f"{url} should have {size} bytes, and sends {told}")


def _checksums(response: requests.Response) -> dict[str, str | int | None]:
    """Return the checksums in Google's header, x-goog-hash: crc32c=<base64>,md5=<base64>."""
    told = response.headers.get("x-goog-hash", "")
    md5 = re.search("md5=([A-Za-z0-9+/]{22}==)", told)
    crc32c = re.search("crc32c=([A-Za-z0-9+/]{6}==)", told)
    return {
        "md5": md5 and base64.b64decode(md5[1]).hex(),
        "crc32c": crc32c and int.from_bytes(base64.b64decode(crc32c[1]), "big"),
    }


def _reason(error: BaseException) -> str:
    """Return the message of the innermost of nested errors, which is the cause."""
    for inner in (getattr(error, "reason", None), *error.args[:1]):
        if isinstance(inner, BaseException):
            return _reason(inner)
    return str(error) or type(error).__name__
