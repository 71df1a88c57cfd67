"""Where a dataset comes from: its partition, its mirrors, or what the user names instead."""

import functools
import os
import re
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.config.errors import StageError
from pipeline.transfer import archive
from pipeline.transfer.http import Mirrors
from pipeline.transfer.local import Directory
from pipeline.transfer.names import Fraction, safe_name, split_of
from pipeline.transfer.plan import SPLITS, Partition, at_fraction, read_plan
from pipeline.transfer.retrying import RetryPolicy
from pipeline.transfer.small import read_small
from pipeline.transfer.source import Refused, Remote, Source

PARTITIONS = {"youtube8m": "2/frame", "youtube8m_video": "2/video"}
"""Of YouTube-8M, by the dataset's name."""
AUDIOSET = "audioset"
"""The dataset that comes as one archive."""
MIRRORS = ("us", "eu", "asia")
_HOST = "data.yt8m.org"
_CLASS_NAMES = ("2/vocabulary.csv", "https://research.google.com/youtube8m/csv/2/vocabulary.csv")
"""Below a mirror, and where the challenge's site has it."""


@dataclass(frozen=True)
class Offer:
    """A source, and what is asked of it: files named <split>/<name>, as they are to lie below raw/."""

    source: Source
    files: dict[str, Remote]


def from_mirrors(
    partition: str,
    splits: Sequence[str],
    fraction: Fraction,
    mirrors: Sequence[str],
    retry_policy: RetryPolicy,
    timeout: float,
) -> Offer:
    """The files of a partition such as 2/frame, by the plans of its splits; no splits: all that it has.

    Raises:
        StageError: there is no such partition, split or mirror.
        Refused, Unavailable: a plan cannot be had.
    """
    splits = splits or SPLITS.get(partition.partition("/")[0], SPLITS["2"])
    wanted = [Partition.parse(f"{partition}/{split}") for split in splits]
    plans = list(dict.fromkeys(address for mirror in mirrors for address in _plans_at(mirror)))
    reader = Mirrors([], lambda file: [f"{address}/{file.name}" for address in plans], timeout)
    files = []
    for part in wanted:
        listed = read_small(reader, Remote(part.plan), retry_policy, functools.partial(read_plan, address=part.plan))
        files += [Remote(f"{part.split}/{file.name}", md5=file.md5) for file in at_fraction(listed, fraction)]
    addresses = [address for mirror in mirrors for address in _yt8m_at(mirror)]
    source = Mirrors(
        files,
        lambda file: [f"{address}/{partition}/{urllib.parse.quote(file.name)}" for address in addresses],
        timeout,
    )
    return Offer(source, {file.name: file for file in files})


def audioset_archive(mirrors: Sequence[str], timeout: float) -> tuple[Mirrors, Remote]:
    """AudioSet's archive of features, and the source that has it."""
    addresses = [_audioset_at(mirror) for mirror in mirrors]
    return Mirrors([archive.ARCHIVE], lambda file: [f"{at}/{file.name}" for at in addresses], timeout), archive.ARCHIVE


def class_names(dataset: str, mirrors: Sequence[str], timeout: float) -> tuple[Mirrors, Remote] | None:
    """The file of class names, where the dataset has one."""
    if dataset == AUDIOSET:
        addresses = [f"{_audioset_at(mirror)}/{archive.CLASS_NAMES.name}" for mirror in mirrors]
        name = PurePosixPath(archive.CLASS_NAMES.name).name
    elif dataset in PARTITIONS:
        addresses = [f"{at}/{_CLASS_NAMES[0]}" for mirror in mirrors for at in _yt8m_at(mirror)]
        addresses += _CLASS_NAMES[1:] if set(mirrors) & set(MIRRORS) else ()
        name = "vocabulary.csv"
    else:
        return None
    return Mirrors([], lambda file: addresses, timeout), Remote(name)


def from_elsewhere(
    place: str, splits: Sequence[str], fraction: Fraction, credentials: bool, retry_policy: RetryPolicy, timeout: float
) -> Offer:
    """The *.tfrecord files of gs://bucket/prefix, a directory, or a file of URLs; no splits: all there are.

    Raises:
        StageError: there is no such place, or a file's split cannot be told, or nothing is left of what is asked for.
        Refused, Unavailable: it cannot be listed.
    """
    if place.startswith("gs://"):
        from pipeline.transfer.gcs import Bucket  # takes a second to import

        source: Source = Bucket(place, credentials=credentials, timeout=timeout)
    elif Path(place).is_dir():
        source = Directory(Path(place))
    elif Path(place).is_file():
        source = url_list(Path(place), timeout)
    else:
        raise StageError(f"--from {place}: there is no such directory or file of URLs; buckets are gs://BUCKET/PREFIX")
    placed: dict[str, Remote] = {}
    listed = retry_policy.call(source.files)
    for file in at_fraction([file for file in listed if file.name.endswith(".tfrecord")], fraction):
        split, name = _split(file.name, splits), PurePosixPath(file.name).name
        if splits and split not in splits:
            continue
        if (twice := placed.setdefault(f"{split}/{name}", file)) is not file:
            raise StageError(f"--from {place}: {twice.name} and {file.name} would both be {split}/{name}")
    there = {name.partition("/")[0] for name in placed}
    if absent := [split for split in splits if split not in there] or not placed:
        of = f" of the split {absent[0]}" if absent is not True else ""
        raise StageError(f"--from {place}: it has no *.tfrecord files{of} (fraction {fraction}, {len(listed)} files)")
    return Offer(source, placed)


def url_list(path: Path, timeout: float) -> Mirrors:
    """The files of a list: one URL a line, and after a space its md5 where it is known; # begins a comment.

    A file is named by its URL's path. Raises StageError naming the line that is wrong.
    """
    urls: dict[str, str] = {}
    files = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        url, _, md5 = line.partition("#")[0].strip().partition(" ")
        if not url:
            continue
        md5 = md5.strip().lower()
        found = re.fullmatch(r"https?://[^/?#\s]+/([^?#\s]*)(\?\S*)?", url)
        if not found:
            raise StageError(f"{path}, line {number}: {url!r} is no http:// or https:// address of a file")
        if md5 and (len(md5) != 32 or set(md5) - set("0123456789abcdef")):
            raise StageError(f"{path}, line {number}: {md5!r} is no md5")
        try:
            name = urllib.parse.unquote(safe_name(found[1]))
        except Refused as error:
            raise StageError(f"{path}, line {number}: {error}") from None
        if urls.setdefault(name, url) != url:
            raise StageError(f"{path}, line {number}: {url} would have the same name as {urls[name]}")
        files.append(Remote(name, md5=md5 or None))
    return Mirrors(files, lambda file: [urls[file.name]], timeout)


def _split(name: str, splits: Sequence[str]) -> str:
    """The split that a file belongs to: its folder's name, or what its own name tells."""
    folder = PurePosixPath(name).parent.name
    folder = {there: split for split, there in archive.FOLDERS.items()}.get(folder, folder)
    if folder and folder in (splits or SPLITS["2"]):
        return folder
    split = split_of(name) or folder or (splits[0] if len(splits) == 1 else "")
    if not split.replace("_", "").isalnum() or split == "holdout":
        raise StageError(f"{name}: to which split it belongs cannot be told; lay it in a folder, or name one --splits")
    return split


def checked_mirrors(mirrors: Sequence[str]) -> list[str]:
    """By default all there are; raises StageError for what is none."""
    for mirror in mirrors:
        if mirror not in MIRRORS and not mirror.startswith(("http://", "https://")):
            raise StageError(f"--mirror {mirror}: there are {', '.join(MIRRORS)}, and any http://HOST:PORT")
    return [mirror.rstrip("/") for mirror in mirrors] or list(MIRRORS)


def _storage() -> tuple[str, bool]:
    """Where buckets are read over HTTP, and whether that is an emulator."""
    emulator = os.environ.get("STORAGE_EMULATOR_HOST", "").rstrip("/")
    return emulator or "https://storage.googleapis.com", bool(emulator)


def _bucket_at(bucket: str) -> list[str]:
    """The addresses of a bucket with the name of a host: where encryption proves who answers, then its own."""
    storage, emulated = _storage()
    return [f"{storage}/{bucket}"] + ([] if emulated else [f"http://{bucket}"])


def _yt8m_at(mirror: str) -> list[str]:
    return _bucket_at(f"{mirror}.{_HOST}") if mirror in MIRRORS else [mirror]


def _plans_at(mirror: str) -> list[str]:
    return _bucket_at(_HOST) if mirror in MIRRORS else [mirror]


def _audioset_at(mirror: str) -> str:
    if mirror not in MIRRORS:
        return f"{mirror}/youtube_corpus/v1"
    return archive.MIRRORS[mirror].replace("https://storage.googleapis.com", _storage()[0])
