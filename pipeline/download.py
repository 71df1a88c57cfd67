"""Bring a dataset's files onto the disk, from its mirrors, a bucket, a directory or a list of URLs.

Writes data/<dataset>/raw/<split>/*.tfrecord, each verified before it has its name; what is missing in the end is listed
in data/<dataset>/download-missing.txt. The same command again transfers only that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from pipeline.artifacts.files import atomic_file
from pipeline.cli.flags import Common
from pipeline.cli.parsing import parse
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.config.errors import StageError
from pipeline.config.ranges import Seconds, Within, Workers
from pipeline.transfer import archive, origins
from pipeline.transfer.fetch import Fetch, Wanted
from pipeline.transfer.http import read_whole
from pipeline.transfer.names import Fraction, official_name
from pipeline.transfer.source import Refused, RetryPolicy, Source, Unavailable


@dataclass(frozen=True)
class Flags(Common):
    fraction: str = "1/1"
    """X/Y: the X-th of Y parts of the files, chosen by a hash of their names; the same files as shard=X,Y of the
    official script."""
    splits: tuple[str, ...] = ()
    """By default all that there are; of AudioSet's archive train and eval (unbalanced has 2 million clips)."""
    partition: str | None = None
    """Part of YouTube-8M, as 2/frame, 2/video or 3/frame (2019's, with segments); by default the preset's own."""
    mirror: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """us, eu, asia or http://HOST:PORT, repeatable: when one fails the next is asked. By default all three."""
    origin: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """gs://BUCKET/PREFIX, a directory, or a file with a URL on each line (and its md5, where known), instead."""
    credentials: bool = False
    """Read a bucket as yourself; without, nobody's credentials are looked for."""
    workers: Workers = 8
    """Transfers at a time."""
    dry_run: bool = False
    """Tell files, bytes, free disk and time, and download nothing."""
    rate: Annotated[float, Within(above=0, most=1_000_000, unit="MB/s")] = 50.0
    """MB/s with which --dry-run reckons the time."""
    verify: bool = False
    """Read also those files again that were verified before and seem unchanged."""
    attempts: Annotated[int, Within(1, 1_000_000)] = RetryPolicy.attempts
    """Attempts in a row that bring nothing new, after which a file is given up."""
    pause: Seconds = RetryPolicy.pause
    """Seconds between the first two of them, at most; doubled each time, up to a minute."""
    timeout: Annotated[float, Within(above=0, most=1_000_000, unit="seconds")] = 30.0
    """Seconds without a byte after which a connection counts as lost."""

    @property
    def retry_policy(self) -> RetryPolicy:
        return RetryPolicy(self.attempts, self.pause)


def main() -> None:
    flags, experiment = parse(Flags, STAGES["download"].sections)
    name, fraction = experiment.dataset.name, Fraction.parse(flags.fraction)
    mirrors = origins.checked_mirrors(flags.mirror)
    home, raw = flags.places.raw(name).parent, flags.places.raw(name)
    try:
        if flags.origin:
            source, files = origins.from_elsewhere(
                flags.origin, flags.splits, fraction, flags.credentials, flags.retry_policy, flags.timeout
            )
        elif name == origins.AUDIOSET and not flags.partition:
            _audioset(flags, fraction, mirrors, home, raw)
            return
        else:
            partition = flags.partition or origins.PARTITIONS.get(name)
            if partition is None:
                made = "synthesize makes its files" if experiment.synthesis else "name a place with --from"
                raise StageError(f"dataset {name} has no mirrors: {made}")
            source, files = origins.from_mirrors(
                partition, flags.splits, fraction, mirrors, flags.retry_policy, flags.timeout
            )
    except (Refused, Unavailable) as error:
        raise StageError(str(error)) from error
    wanted = [Wanted(file, _place(raw / place)) for place, file in files.items()]
    if _bring(flags, source, wanted, home) and not flags.origin:
        _class_names(name, mirrors, home, flags)


def _audioset(flags: Flags, fraction: Fraction, mirrors: Sequence[str], home: Path, raw: Path) -> None:
    """The archive as a whole, and out of it what is asked for; it is deleted then."""
    if fraction.parts > 1:
        raise StageError(f"--fraction {fraction}: AudioSet's features come as one archive; choose --splits instead")
    splits = flags.splits or ("train", "eval")
    if unknown := set(splits) - set(archive.FOLDERS):
        raise StageError(f"--splits {min(unknown)}: AudioSet's archive has {', '.join(archive.FOLDERS)}")
    absent = {archive.FOLDERS[split]: raw / split for split in splits if not archive.is_unpacked(raw / split)}
    if not absent:
        print(f"{raw}: {', '.join(splits)} are there")
        return
    source, file = origins.audioset_archive(mirrors, flags.timeout)
    path = home / file.name
    if _bring(flags, source, [Wanted(file, path)], home):
        for folder, count in archive.unpack(path, absent).items():
            print(f"{absent[folder]}: {count} files")
        path.unlink()
        _class_names(origins.AUDIOSET, mirrors, home, flags)


def _bring(flags: Flags, source: Source, wanted: list[Wanted], home: Path) -> bool:
    """Whether everything is there; False after a dry run. Raises StageError with what is missing."""
    fetch = Fetch(source, home, flags.workers, flags.retry_policy)
    if flags.dry_run:
        print(fetch.forecast(wanted, flags.rate))
        print("nothing was downloaded")
        return False
    before = fetch.deliver(wanted, flags.verify)
    print(f"{home}: all {len(wanted)} files are there and verified, {before} were before")
    return True


def _place(path: Path) -> Path:
    """Where a shard is to lie: under its own name, or where the official script has put it before."""
    other = official_name(path.name)
    return path.with_name(other) if other and path.with_name(other).exists() and not path.exists() else path


def _class_names(name: str, mirrors: Sequence[str], home: Path, flags: Flags) -> None:
    """Names for the classes in reports, where somebody has them; nothing depends on it."""
    known = origins.class_names(name, mirrors, flags.timeout)
    if known is None or (path := home / known[1].name).exists():
        return
    try:
        text = read_whole(*known, replace(flags.retry_policy, attempts=min(3, flags.attempts)))
        with atomic_file(path) as temporary:
            temporary.write_bytes(text)
    except (Refused, Unavailable, OSError) as error:
        print(f"the names of the classes are not to be had: {error}")


if __name__ == "__main__":
    run_stage(main)
