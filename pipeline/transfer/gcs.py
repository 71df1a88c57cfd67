"""Google Cloud Storage: read the objects below a gs:// address from any offset, and upload files."""

import base64
import contextlib
import io
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import requests
import urllib3
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud import storage
from google.cloud.storage import exceptions as media
from google.cloud.storage.retry import DEFAULT_RETRY

from pipeline.artifacts.hidden import is_hidden
from pipeline.config.errors import StageError
from pipeline.runtime.progress import progress_of_reading
from pipeline.transfer.names import safe_name
from pipeline.transfer.source import Body, Refused, Remote, Source, Unavailable, retry_after
from pipeline.transfer.verified import checksums_of

# Otherwise the client also asks for the bucket at every request, in another thread, again and again if refused.
os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")

_CHUNK = 1 << 23
"""Bytes of one ranged read, and of one part of an upload; the service asks for multiples of 256 KiB there."""
_CONNECT = 10.0
"""Seconds within which a connection must be made."""
_PASSING = (408, 429)
_CONNECTION = (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError)
_LOG_IN = "log in with `gcloud auth application-default login`, or set $GOOGLE_APPLICATION_CREDENTIALS"

# ------------------------------------------------------------------------------------------------------------- reading


class Bucket(Source):
    """The objects below gs://bucket/prefix: the prefix is a folder, or one object.

    Credentials are only looked for if asked: public buckets need none, and looking can take minutes. With
    $STORAGE_EMULATOR_HOST in the environment, every request goes there.

    Args:
        url: gs://bucket or gs://bucket/prefix.
        credentials: read with the user's application default credentials.
        timeout: seconds without a byte after which a connection counts as lost.

    Raises:
        StageError: the address is not of this form.
        Refused: there are no credentials.
    """

    def __init__(self, url: str, credentials: bool = False, timeout: float = 60.0):
        name, path = bucket_and_path(url)
        self.prefix = path.rstrip("/")
        self._bucket = _client(credentials).bucket(name)
        self._once: dict[str, Any] = {"timeout": (min(_CONNECT, timeout), timeout), "retry": None}

    def files(self) -> list[Remote]:
        """Return all objects of data, named from the prefix on, with sizes and checksums; no placeholders of folders.

        Raises:
            Refused: there are none, the user may not list them, or a name is unsafe.
            Unavailable: the service did not answer.
        """
        folder = f"{self.prefix}/" if self.prefix else ""
        found = []
        with _explained(self._url(self.prefix)):
            for blob in self._bucket.client.list_blobs(self._bucket, prefix=self.prefix or None, **self._once):
                if blob.name == self.prefix:
                    found.append(_remote(blob.name.rpartition("/")[2], blob))
                elif blob.name.startswith(folder) and not blob.name.endswith("/"):
                    name = blob.name.removeprefix(folder)
                    found += [] if is_hidden(name) else [_remote(name, blob)]
        if not found:
            raise Refused(f"{self._url(self.prefix)}: there is no object of this name, nor any below it")
        return found

    @contextlib.contextmanager
    def open(self, file: Remote, offset: int = 0) -> Iterator[Body]:
        """Yield an object's bytes from an offset on, all of one version; from 0 if it ends before the offset."""
        name = f"{self.prefix}/{file.name}" if self.prefix else file.name
        with _explained(self._url(name)):
            blob = self._bucket.get_blob(name, **self._once)
            if blob is None and self.prefix.rpartition("/")[2] == file.name:
                blob = self._bucket.get_blob(self.prefix, **self._once)
        if blob is None:
            raise Refused(f"{self._url(name)}: there is no such object")
        start = offset if offset <= blob.size else 0
        yield Body(start, blob.size, self._chunks(blob, start))

    def _chunks(self, blob: storage.Blob, start: int) -> Iterator[bytes]:
        """Yield ranged reads up to the end; bytes that arrived before a failure are not lost."""
        url = self._url(blob.name)
        while start < blob.size:
            end = min(start + _CHUNK, blob.size)
            buffer, failure = io.BytesIO(), None
            try:
                with _explained(url):
                    # Raw, not decompressed: sizes and checksums are those of the stored bytes.
                    blob.download_to_file(
                        buffer, start=start, end=end - 1, raw_download=True, checksum=None, **self._once
                    )
            except (Unavailable, Refused) as error:
                failure = error
            if buffer.tell() > end - start:
                raise Unavailable(f"{url}: {buffer.tell()} bytes came instead of {end - start}")
            start += buffer.tell()
            if buffer.tell():
                yield buffer.getvalue()
            if failure:
                raise failure
            if start < end:
                raise Unavailable(f"{url}: the connection ended {end - start} bytes early")

    def _url(self, name: str) -> str:
        return f"gs://{self._bucket.name}/{name}"


# ------------------------------------------------------------------------------------------------------------- writing


def upload_all(paths: Sequence[Path], folder: str) -> Iterator[str]:
    """Upload files below gs://bucket/path in order, as `upload` does; yield the address of each when it is uploaded.

    Raises:
        StageError: a file was not uploaded; the message names it.
    """
    for path in paths:
        url = f"{folder.rstrip('/')}/{path.name}"
        try:
            upload(path, url)
        except (Refused, Unavailable) as error:
            raise StageError(f"{path} was not uploaded: {error}; the same command goes on from here") from error
        yield url


def upload(path: Path, url: str, timeout: float = 60.0, patience: float = 300.0) -> bool:
    """Upload a file to gs://bucket/name with the application default credentials; return False if it was there already.

    It is sent in parts, and a part is sent again when the network fails; the service verifies the crc32c of the whole
    file. An object that exists is never replaced, whatever its content.

    Args:
        path: the file; it must not change meanwhile.
        url: address of the object.
        timeout: seconds without an answer after which a connection counts as lost.
        patience: seconds for which a part is tried again.

    Raises:
        StageError: the address is not of this form.
        Refused: the user may not write there, there is no such bucket, or the object has other content.
        Unavailable: a part could not be sent in that time.
    """
    bucket, name = bucket_and_path(url)
    if not name or name.endswith("/"):
        raise StageError(f"{url} names no object: write gs://BUCKET/NAME")
    sums = checksums_of(path)
    checksum = base64.b64encode(sums.crc32c.to_bytes(4)).decode()  # as the service writes it
    patient: dict[str, Any] = {"timeout": (_CONNECT, timeout), "retry": DEFAULT_RETRY.with_timeout(patience)}
    with _client(credentials=True) as client, _explained(url):
        there = client.bucket(bucket).get_blob(name, **patient)
        sent = there is None
        if sent:
            blob = client.bucket(bucket).blob(name, chunk_size=_CHUNK)
            blob.crc32c = checksum  # the service refuses other bytes
            with (
                path.open("rb") as file,
                progress_of_reading(file, sums.size, desc=path.name) as stream,
                # Raised for another object of this name, and for this one if only the answer was lost.
                contextlib.suppress(api.PreconditionFailed),
            ):
                try:
                    blob.upload_from_file(stream, size=sums.size, if_generation_match=0, checksum="crc32c", **patient)
                except (
                    ValueError
                ) as error:  # the service kept less of a part than was sent; the client cannot resume then
                    raise Unavailable(f"{url}: {error}") from error
            there = client.bucket(bucket).get_blob(name, **patient)
    if there is None:
        raise Unavailable(f"{url} vanished after it was uploaded")
    if (there.size, there.crc32c) != (sums.size, checksum):
        raise Refused(f"{url} holds something else than {path}: choose another address, or delete it first")
    return sent


# -------------------------------------------------------------------------------------------------------------- common


def bucket_and_path(url: str) -> tuple[str, str]:
    """Return the bucket and the path of gs://BUCKET/PATH; raise StageError for other text."""
    found = re.fullmatch(r"gs://([a-z0-9][-_.a-z0-9]{1,220}[a-z0-9])(?:/(.*))?", url, re.DOTALL)
    if found is None:
        raise StageError(f"{url!r} is not the address of a bucket: write gs://BUCKET/PATH")
    return found[1], found[2] or ""


def _client(credentials: bool) -> storage.Client:
    if not credentials:
        return storage.Client.create_anonymous_client()
    try:
        return storage.Client(project=None)  # objects are reached without one
    except auth.DefaultCredentialsError:
        raise Refused(f"there are no Google Cloud credentials: {_LOG_IN}") from None


def _remote(name: str, blob: storage.Blob) -> Remote:
    return Remote(
        safe_name(name),
        blob.size,
        md5=blob.md5_hash and base64.b64decode(blob.md5_hash).hex(),
        crc32c=blob.crc32c and int.from_bytes(base64.b64decode(blob.crc32c)),
    )


@contextlib.contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn the errors of the client and of the libraries below it into Unavailable or Refused."""
    try:
        yield
    except api.NotFound:
        raise Refused(f"{url}: there is no such object or bucket") from None
    except (*_CONNECTION, auth.TransportError, api.RetryError, media.DataCorruption, media.InvalidResponse) as error:
        raise Unavailable(f"{url}: {type(error).__name__}: {error}") from error
    except (api.Unauthorized, api.Forbidden, auth.GoogleAuthError) as error:  # the last for 401 without credentials
        raise Refused(f"{url}: not open to everybody, or not to you: {_LOG_IN}") from error
    except api.GoogleAPICallError as error:
        message = f"{url}: the service answers {error.code:d}"
        if error.code in _PASSING or error.code >= 500:
            after = retry_after(error.response.headers) if error.response is not None else None
            raise Unavailable(message, after) from error
        raise Refused(f"{message}: {error.message}") from error
