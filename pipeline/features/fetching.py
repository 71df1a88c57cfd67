"""Download the file of a backbone, resumed and verified, and record its checksum beside it at the first time."""

import json
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.artifacts.done import sha256_of
from pipeline.artifacts.files import write_json
from pipeline.config.checked import check_value
from pipeline.config.errors import StageError
from pipeline.config.ranges import FolderName
from pipeline.runtime.output import redacted
from pipeline.transfer.fetch import Fetch, Wanted
from pipeline.transfer.http import Mirrors
from pipeline.transfer.source import Refused, Remote, RetryPolicy, Unavailable

_ENDING = ".sha256.json"


def is_address(place: str) -> bool:
    """Return whether a text is the address of a file."""
    return place.startswith(("https://", "http://"))


def fetched(address: str, folder: Path, name: str = "", sha256: str = "") -> Path:
    """Return a file from an address, which is downloaded into `folder` unless it is there.

    Args:
        address: where it is.
        folder: where it is kept.
        name: of the file; by default that in the address.
        sha256: which it must have; empty if that is not known: then what is fetched first is recorded beside the file.

    Raises StageError: it cannot be downloaded, or has another checksum.
    """
    name = name or urlsplit(address).path.rpartition("/")[2]
    check_value(f"--backbones {redacted(address)}: the name of the file", name, FolderName)
    path = folder / name
    if path.exists():
        return path
    fetch = Fetch(Mirrors(lambda file: [address]), folder, 1, RetryPolicy(attempts=4))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        fetch.deliver([Wanted(Remote(name), path)], False)
    except (Unavailable, Refused) as error:
        raise StageError(str(error)) from error
    found = sha256_of(path)
    if sha256 and found != sha256:
        path.unlink()
        raise StageError(f"{redacted(address)} has the SHA-256 {found}, and must have {sha256}: find it elsewhere")
    write_json(path.with_name(name + _ENDING), {"sha256": found, "address": redacted(address)})
    return path


def recorded_checksum(path: Path) -> str:
    """Return the checksum that was recorded when a file was fetched; empty if none was."""
    try:
        values = json.loads(path.with_name(path.name + _ENDING).read_text(encoding="utf-8"))
        return str(values["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
