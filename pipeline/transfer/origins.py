"""The sources of a dataset: its mirrors, or a bucket, a directory or a list of URLs that the user names."""

import contextlib
import functools
import os
import re
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from pipeline.artifacts.hidden import visible
from pipeline.config.errors import StageError
from pipeline.config.wording import counted
from pipeline.inputs.text import read_lines
from pipeline.runtime.output import redacted
from pipeline.transfer import archive
from pipeline.transfer.http import Mirrors, read_whole
from pipeline.transfer.names import SPLITS, Fraction, plan_of, read_plan, safe_name, split_of
from pipeline.transfer.source import Body, Refused, Remote, RetryPolicy, Source, Unavailable

PARTITIONS = {"youtube8m": "2/frame", "youtube8m_video": "2/video"}
"""The part of YouTube-8M that each dataset is."""
AUDIOSET = "audioset"
"""The dataset that comes as one archive."""
MIRRORS = ("us", "eu", "asia")
_PLANS, _YOUTUBE8M, _AUDIOSET = "data.yt8m.org", "{}.data.yt8m.org", "{}_audioset"
"""Buckets."""
_CHUNK = 1 << 20

# ---------------------------------------------------------------------------------------------------------- the mirrors


def checked_mirrors(mirrors: Sequence[str]) -> list[str]:
    """Return the mirrors to ask, by default all; raise StageError for an unknown one."""
    for mirror in mirrors:
        if mirror not in MIRRORS and not mirror.startswith(("http://", "https://")):
            raise StageError(f"--mirror {mirror}: there are {', '.join(MIRRORS)}, and any http://HOST:PORT")
    return [mirror.rstrip("/") for mirror in mirrors] or list(MIRRORS)


def bucket_addresses(mirrors: Sequence[str], bucket: str) -> list[str]:
    """Return the HTTP addresses of a public bucket, whose name has `{}` for the mirror's; addresses are unchanged."""
    emulator = os.environ.get("STORAGE_EMULATOR_HOST", "").rstrip("/")
    found = []
    for mirror in mirrors:
        name = bucket.format(mirror)
        if mirror not in MIRRORS:
            found.append(mirror)
        elif emulator:
            found.append(f"{emulator}/{name}")
        else:  # HTTPS first, which proves who answers; a bucket that is named like a host answers there too
            found += [f"https://storage.googleapis.com/{name}"] + [f"http://{name}"] * ("." in name)
    return list(dict.fromkeys(found))


def from_mirrors(
    partition: str,
    splits: Sequence[str],
    fraction: Fraction,
    mirrors: Sequence[str],
    retry_policy: RetryPolicy,
    timeout: float,
) -> tuple[Source, dict[str, Remote]]:
    """Return the source and the files of a partition such as 2/frame, by the plans of its splits, by default all.

    Returns:
        The source, and its files by their path <split>/<name> below raw/.

    Raises:
        StageError: there is no such partition, split or mirror.
        Refused, Unavailable: a plan cannot be downloaded.
    """
    splits = splits or SPLITS.get(partition.partition("/")[0], SPLITS["2"])
    plans = {split: plan_of(f"{partition}/{split}") for split in splits}
    hosts = bucket_addresses(mirrors, _PLANS)
    reader = Mirrors(lambda file: [f"{host}/{file.name}" for host in hosts], timeout)
    files = {}
    for split, plan in plans.items():
        listed = read_whole(reader, Remote(plan), retry_policy, functools.partial(read_plan, address=plan))
        chosen = [Remote(f"{split}/{file.name}", md5=file.md5) for file in listed if file.name in fraction]
        files |= {file.name: file for file in chosen}
    copies = [f"{address}/{partition}" for address in bucket_addresses(mirrors, _YOUTUBE8M)]
    source = Mirrors(lambda file: [f"{copy}/{urllib.parse.quote(file.name)}" for copy in copies], timeout)
    return source, files


def audioset_archive(mirrors: Sequence[str], timeout: float) -> tuple[Mirrors, Remote]:
    """Return the source of AudioSet's archive of features, and the archive."""
    addresses = [f"{at}/{archive.ARCHIVE}" for at in bucket_addresses(mirrors, _AUDIOSET)]
    return Mirrors(lambda file: addresses, timeout), Remote(PurePosixPath(archive.ARCHIVE).name)


def class_names(dataset: str, mirrors: Sequence[str], timeout: float) -> tuple[Mirrors, Remote] | None:
    """Return the source of a dataset's class names, and their file; None if it has none."""
    if dataset == AUDIOSET:
        addresses = [f"{at}/{archive.CLASS_NAMES}" for at in bucket_addresses(mirrors, _AUDIOSET)]
    elif dataset in PARTITIONS:
        addresses = [f"{at}/2/vocabulary.csv" for at in bucket_addresses(mirrors, _YOUTUBE8M)]
        if set(mirrors) & set(MIRRORS):
            addresses.append("https://research.google.com/youtube8m/csv/2/vocabulary.csv")
    else:
        return None
    return Mirrors(lambda file: addresses, timeout), Remote(PurePosixPath(addresses[0]).name)


# ------------------------------------------------------------------------------------------------ what the user names


def from_elsewhere(
    place: str, splits: Sequence[str], fraction: Fraction, credentials: bool, retry_policy: RetryPolicy, timeout: float
) -> tuple[Source, dict[str, Remote]]:
    """Return the source and the *.tfrecord files of gs://bucket/prefix, a directory or a file of URLs.

    Returns:
        As `from_mirrors`.

    Raises:
        StageError: there is no such place, a file's split is unknown, or no file is of the splits and the fraction.
        Refused, Unavailable: it cannot be listed.
    """
    if place.startswith("gs://"):
        from pipeline.transfer.gcs import Bucket  # takes a second to import

        source: Source = Bucket(place, credentials=credentials, timeout=timeout)
        listed = retry_policy.call(source.files)
    elif Path(place).is_dir():
        source = Directory(Path(place))
        listed = source.files()
    elif Path(place).is_file():
        source, listed = url_list(Path(place), timeout)
    else:
        raise StageError(
            f"--from {redacted(place)}: there is no such directory or file of URLs; buckets are gs://BUCKET/PREFIX"
        )
    placed: dict[str, Remote] = {}
    for file in listed:
        if not file.name.endswith(".tfrecord") or file.name not in fraction:
            continue
        split, name = _split(file.name, splits), PurePosixPath(file.name).name
        if splits and split not in splits:
            continue
        if (twice := placed.setdefault(f"{split}/{name}", file)) is not file:
            raise StageError(f"--from {place}: {twice.name} and {file.name} would both be {split}/{name}")
    there = {name.partition("/")[0] for name in placed}
    absent = [f" of the split {split}" for split in splits if split not in there]
    if absent or not placed:
        of = "".join(absent[:1])
        raise StageError(
            f"--from {place}: it has no *.tfrecord files{of} (fraction {fraction}, {counted(len(listed), 'file')})"
        )
    return source, placed


def url_list(path: Path, timeout: float) -> tuple[Mirrors, list[Remote]]:
    """Return the source and the files of a list: a URL on each line, then a space and its md5 if known; # comments.

    A file is named by its URL's path. Raises StageError that names the first wrong line.
    """
    urls: dict[str, str] = {}
    files = []
    for number, line in read_lines(path):
        url, md5 = [*line.partition("#")[0].split(maxsplit=1), "", ""][:2]
        if not url:
            continue
        md5 = md5.strip().lower()
        found = re.fullmatch(r"https?://[^/?#\s]+/([^?#\s]*)(\?\S*)?", url)
        if not found:
            raise StageError(f"{path}, line {number}: {redacted(url)!r} is no http:// or https:// address of a file")
        if not re.fullmatch("([0-9a-f]{32})?", md5):
            raise StageError(f"{path}, line {number}: what follows the address is no md5")
        try:
            name = urllib.parse.unquote(safe_name(found[1]))
        except Refused as error:
            raise StageError(f"{path}, line {number}: {error}") from None
        if urls.setdefault(name, url) != url:
            twice = redacted(f"{url} would have the same name as {urls[name]}")
            raise StageError(f"{path}, line {number}: {twice}")
        files.append(Remote(name, md5=md5 or None))
    return Mirrors(lambda file: [urls[file.name]], timeout), files


class Directory(Source):
    """The files below a folder: a mounted disk or bucket, or somebody's copy. Links are refused."""

    def __init__(self, root: Path):
        self.root = root

    def files(self) -> list[Remote]:
        """Return all files of data below the folder by name; raise Refused for a link, or if there is no folder."""
        if not self.root.is_dir():
            raise Refused(f"{self.root} is not a directory")
        found = []
        for path in visible(self.root, "**/*"):
            if path.is_symlink():
                raise Refused(f"{path} is a link; name the directory in which the files themselves are")
            if not path.is_dir():
                found.append(Remote(safe_name(path.relative_to(self.root).as_posix()), path.stat().st_size))
        return sorted(found, key=lambda file: file.name)

    @contextlib.contextmanager
    def open(self, file: Remote, offset: int = 0) -> Iterator[Body]:
        path = self.root / safe_name(file.name)
        try:
            opened = open(path, "rb", buffering=0, opener=_open_no_link)  # noqa: SIM115 (Path.open has no opener)
        except OSError as error:
            raise Refused(f"{path} cannot be read: {error.strerror}") from error
        with opened:
            size = os.fstat(opened.fileno()).st_size
            start = offset if offset <= size else 0
            opened.seek(start)
            yield Body(start, size, self._chunks(opened, path))

    def _chunks(self, opened, path: Path) -> Iterator[bytes]:
        try:
            while chunk := opened.read(_CHUNK):
                yield chunk
        except OSError as error:  # a mounted bucket's network, a failing disk
            raise Unavailable(f"{path} cannot be read: {error.strerror}") from error


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def _split(name: str, splits: Sequence[str]) -> str:
    """Return the split of a file: its folder's name, or the split in its own name."""
    folder = PurePosixPath(name).parent.name
    folder = {there: split for split, there in archive.FOLDERS.items()}.get(folder, folder)
    if folder and folder in (splits or SPLITS["2"]):
        return folder
    split = split_of(name) or folder or (splits[0] if len(splits) == 1 else "")
    if not split.replace("_", "").isalnum() or split == "holdout":
        raise StageError(f"{name}: its split is unknown; put it into a folder of that name, or give a single --splits")
    return split
