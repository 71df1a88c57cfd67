"""Files over HTTP: each at one address or several, and when one fails the next is asked."""

import base64
import binascii
import contextlib
import dataclasses
import email.utils
import http.client
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import requests
import urllib3

from pipeline.transfer.source import Body, RateLimited, Refused, Remote, Unavailable

CHUNK = 1 << 18
_LEAST_RATE = 1024
"""Bytes a second; a connection that brings less over a whole timeout counts as stalled."""
_BUSY = {408, 425, 429}


class Mirrors:
    """Files at addresses, a Source; each attempt goes to the address that has failed the file least.

    Among those, to the host that had the least trouble of late, and then in the order given. A host that says
    Retry-After isn't asked before then.

    Args:
        files: what there is.
        addresses: where a file is, the best first.
        timeout: seconds without a byte after which a connection counts as lost.
    """

    def __init__(self, files: Sequence[Remote], addresses: Callable[[Remote], Sequence[str]], timeout: float = 30.0):
        self._files = list(files)
        self._addresses = addresses
        self._timeout = timeout
        self._sessions = threading.local()
        self._lock = threading.Lock()
        self._failed: Counter[tuple[str, str]] = Counter()
        self._refused: dict[tuple[str, str], str] = {}
        self._troubles: Counter[str] = Counter()
        self._rests: dict[str, float] = {}
        self._versions: dict[str, str] = {}
        """What If-Range takes, of each address."""

    def files(self) -> list[Remote]:
        return list(self._files)

    def measure(self, file: Remote) -> Remote:
        """The file with its size and, where it had none, the checksums that Google's servers tell. One HEAD request.

        Raises:
            Unavailable: ask again.
            Refused: it cannot be known beforehand.
        """
        url = self._choose(file)
        with self._counted(file, url), self._request("HEAD", url, {}) as response:
            if response.status_code != 200:
                raise Refused(f"{url} says {response.status_code} {response.reason}")
            file = dataclasses.replace(file, size=_length(response))
            return file if file.is_verifiable() else dataclasses.replace(file, **_hashes(response))

    @contextlib.contextmanager
    def open(self, file: Remote, offset: int = 0) -> Iterator[Body]:
        url = self._choose(file)
        with self._counted(file, url):
            try:
                with self._answer(file, url, offset) as (response, start):
                    yield self._body(file, url, response, start)
            except Refused as error:
                with self._lock:
                    self._refused[file.name, url] = str(error)
                    if all((file.name, other) in self._refused for other in self._addresses(file)):
                        raise
                raise Unavailable(str(error), after=0) from error

    @contextlib.contextmanager
    def _answer(self, file: Remote, url: str, offset: int) -> Iterator[tuple[requests.Response, int]]:
        """A response whose body is to be read, and the offset at which that begins."""
        headers = {}
        version = self._versions.get(url)
        if offset and (version or file.is_verifiable()):
            headers["Range"] = f"bytes={offset}-"
            if version:
                headers["If-Range"] = version
        with self._request("GET", url, headers) as response:
            if response.status_code == 206 and headers:
                yield response, _range_start(url, response, offset, file.size)
                return
            if response.status_code != 416 or not headers:
                yield response, self._whole(url, response)
                return
        with self._request("GET", url, {}) as response:  # it has fewer bytes than we: another version
            yield response, self._whole(url, response)

    def _whole(self, url: str, response: requests.Response) -> int:
        if response.status_code != 200:
            raise Refused(f"{url} says {response.status_code} {response.reason}")
        tag = response.headers.get("ETag", "W/")  # what begins so cannot tell bytes apart
        version = response.headers.get("Last-Modified") if tag.startswith("W/") else tag
        if version:
            self._versions[url] = version
        else:
            self._versions.pop(url, None)
        return 0

    def _body(self, file: Remote, url: str, response: requests.Response, start: int) -> Body:
        if (encoding := response.headers.get("Content-Encoding", "identity").lower()) != "identity":
            raise Refused(f"{url} is sent as {encoding}, although the bytes themselves were asked for")
        length = _length(response)
        size = None if length is None else start + length
        if None not in (size, file.size) and size != file.size:
            raise Unavailable(f"{url} should have {file.size} bytes, and has {size}")
        return Body(start, size, self._chunks(url, response))

    def _chunks(self, url: str, response: requests.Response) -> Iterator[bytes]:
        since, count = time.monotonic(), 0
        try:
            while chunk := response.raw.read1(CHUNK, decode_content=False):
                yield chunk
                count += len(chunk)
                if (seconds := time.monotonic() - since) > self._timeout:
                    if count < _LEAST_RATE * seconds:
                        raise Unavailable(f"{url} hardly sends anything")
                    since, count = time.monotonic(), 0
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            raise Unavailable(f"{url} broke off: {_reason(error)}") from error

    @contextlib.contextmanager
    def _request(self, method: str, url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
        """The answer to a request; raises Unavailable where there's none, or the server says that it is busy."""
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
            raise Unavailable(f"{url} cannot be reached: {_reason(error)}") from error
        except (requests.RequestException, ValueError) as error:  # an address that is none, endless redirects
            raise Refused(f"{url} cannot be asked: {error}") from error
        with response:
            if response.status_code in _BUSY or response.status_code >= 500:
                after = _retry_after(response)
                if after is not None:
                    self._rests[_host(url)] = time.monotonic() + after
                raise Unavailable(f"{url} says {response.status_code} {response.reason}", after)
            yield response

    def _choose(self, file: Remote) -> str:
        with self._lock:
            urls = [url for url in self._addresses(file) if (file.name, url) not in self._refused]
            if not urls:
                raise Refused("; ".join(self._refused[file.name, url] for url in self._addresses(file)))
            now = time.monotonic()
            if not (ready := [url for url in urls if self._rests.get(_host(url), 0) <= now]):
                after = min(self._rests[_host(url)] for url in urls) - now
                raise RateLimited(f"{urls[0]} asks to wait", after)
            return min(ready, key=lambda url: (self._failed[file.name, url], self._troubles[_host(url)]))

    @contextlib.contextmanager
    def _counted(self, file: Remote, url: str) -> Iterator[None]:
        """Remember how it went; where another address is still untried, it's asked without a wait."""
        host = _host(url)
        try:
            yield
        except Unavailable as error:
            with self._lock:
                self._failed[file.name, url] += 1
                self._troubles[host] += 1
                now = time.monotonic()
                if any(
                    not self._failed[file.name, other] and self._rests.get(_host(other), 0) <= now
                    for other in self._addresses(file)
                    if (file.name, other) not in self._refused
                ):
                    error.after = 0
            raise
        with self._lock:
            self._troubles[host] = 0


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]


def _length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if re.fullmatch("[0-9]{1,18}", length) else None


def _range_start(url: str, response: requests.Response, offset: int, size: int | None) -> int:
    """The offset at which a partial answer begins; raises Unavailable where it isn't what was asked for."""
    told = response.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", told)
    if not found or int(found[1]) != offset:
        raise Unavailable(
            f"{url} was asked for the bytes from {offset} on, and sends {told or 'it does not say which'}"
        )
    if size is not None and (int(found[2]) + 1 != size or found[3] not in ("*", str(size))):
        raise Unavailable(f"{url} should have {size} bytes, and sends {told}")
    return offset


def _hashes(response: requests.Response) -> dict[str, str | int]:
    """Checksums from Google's header: x-goog-hash: crc32c=<base64>,md5=<base64>."""
    found: dict[str, str | int] = {}
    for item in response.headers.get("x-goog-hash", "").split(","):
        name, _, value = item.strip().partition("=")
        try:
            raw = base64.b64decode(value, validate=True)
        except binascii.Error:
            continue
        if name == "md5" and len(raw) == 16:
            found["md5"] = raw.hex()
        elif name == "crc32c" and len(raw) == 4:
            found["crc32c"] = int.from_bytes(raw, "big")
    return found


def _retry_after(response: requests.Response) -> float | None:
    """Seconds, from a number of them or a date."""
    text = response.headers.get("Retry-After", "").strip()
    if re.fullmatch("[0-9]{1,9}", text):
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time()) if text else None
    except ValueError:
        return None


def _reason(error: BaseException) -> str:
    """The innermost of nested errors, which is what happened."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return _reason(reason)
    if error.args and isinstance(error.args[0], BaseException):
        return _reason(error.args[0])
    return str(error) or type(error).__name__
