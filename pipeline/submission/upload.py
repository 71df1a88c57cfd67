"""Upload a file to an address from the site; after a failure it resumes."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import IO

import requests

from pipeline.runtime.progress import progress_of_reading
from pipeline.transfer.source import Unavailable


class Upload:
    """A resumable upload of Google Cloud Storage; no message holds its address, which lets anybody upload.

    Args:
        path: the file.
        begin: asks the site for a place to upload to, and returns its name and address.
        timeout: seconds without an answer, or without progress.
    """

    def __init__(self, path: Path, begin: Callable[[], tuple[str, str]], timeout: float):
        self._path, self._begin, self._timeout = path, begin, timeout
        self._place: tuple[str, str] | None = None

    def run(self) -> str:
        """Upload the file and return the name of its place; raises Unavailable, and resumes when it is called again.

        After success the next call starts at a new place.
        """
        size, start = self._path.stat().st_size, 0
        if self._place:
            answer = self._put(f"bytes */{size}")
            held = re.fullmatch(r"bytes=0-(\d+)", answer.headers.get("Range", ""))
            start = size if answer.status_code != 308 else int(held[1]) + 1 if held else 0
        else:
            self._place = self._begin()
        if start < size:
            with self._path.open("rb") as file, progress_of_reading(file, size - start, unit_divisor=1024) as rest:
                file.seek(start)
                self._put(f"bytes {start}-{size - 1}/{size}" if start else None, rest)
        (name, _), self._place = self._place, None
        return name

    def _put(self, content_range: str | None, body: IO[bytes] | None = None) -> requests.Response:
        headers, address = {"Content-Range": content_range}, self._place[1]
        try:
            answer = requests.put(address, body, headers=headers, timeout=self._timeout, allow_redirects=False)
        except requests.RequestException as error:
            raise Unavailable(f"the upload's connection was lost ({type(error).__name__})") from None
        if answer.status_code in (200, 201) or (answer.status_code == 308 and body is None):
            return answer
        if answer.status_code != 308 and answer.status_code < 500:
            self._place = None
        raise Unavailable(f"the site does not take the file, and answers {answer.status_code}")
