"""Download a dataset's files from its mirrors, a bucket, a directory or a list of URLs.

Writes data/<dataset>/raw/<split>/*.tfrecord; a file gets its name only after it is verified. What is missing in the end
is listed in data/<dataset>/download-missing.txt; the same command again transfers only that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from pipeline.artifacts.files import atomic_file
from pipeline.cli.flags import CommonFlags
from pipeline.cli.parsing import parse_flags
from pipeline.cli.paths import PathOrName
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.config.errors import StageError
from pipeline.config.ranges import Seconds, Within, Workers
from pipeline.config.wording import counted
from pipeline.transfer import archive, origins
from pipeline.transfer.fetch import Fetch, Wanted
from pipeline.transfer.http import read_whole
from pipeline.transfer.names import Fraction, official_name
from pipeline.transfer.source import Refused, RetryPolicy, Source, Unavailable

_ELSEWHERE = "check the network, or name another source with --mirror or --from"


@dataclass(frozen=True)
class Flags(CommonFlags):
    fraction: str = "1/1"
    """Part of the files to download: X/Y is the X-th of Y parts, chosen by a hash of the files' names.
    It has the same files as shard=X,Y of the official script."""
    splits: tuple[str, ...] = ()
    """Splits to download; by default all, but of AudioSet train and eval alone (unbalanced has 2 million clips)."""
    partition: str | None = None
    """Part of YouTube-8M: 2/frame, 2/video or 3/frame (of 2019, with segments); by default the preset's own."""
    mirror: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Mirror to download from: us, eu, asia or http://HOST:PORT, repeatable. By default all three.
    When one fails, the next is asked."""
    origin: Annotated[PathOrName | None, tyro.conf.arg(name="from")] = None
    """Source to use instead of the mirrors: gs://BUCKET/PREFIX, a directory, or a file that lists URLs.
    The list has a URL on each line, with its md5 where known."""
    credentials: bool = False
    """Read a bucket with your Google Cloud credentials; without it, no credentials are looked for."""
    workers: Workers = 8
    """Number of transfers at a time."""
    dry_run: bool = False
    """Print the number of files, bytes, free disk and the estimated time, and download nothing."""
    rate: Annotated[float, Within(above=0, most=1_000_000, unit="MB/s")] = 50.0
    """Transfer rate, in MB/s, from which --dry-run estimates the time."""
    verify: bool = False
    """Verify all files again, even those that were verified before and seem unchanged."""
    attempts: Annotated[int, Within(1, 1_000_000)] = RetryPolicy.attempts
    """Number of attempts in a row that bring nothing new, after which a file is given up."""
    pause: Seconds = RetryPolicy.pause
    """Longest pause, in seconds, between the first two attempts; it doubles each time, up to a minute."""
    timeout: Annotated[float, Within(above=0, most=1_000_000, unit="seconds")] = 30.0
    """Timeout: seconds without a byte after which a connection counts as lost."""

    @property
    def retry_policy(self) -> RetryPolicy:
        if self.dry_run:  # whoever only asks is answered within 10 seconds, also where no server is
            return RetryPolicy(min(3, self.attempts), min(0.2, self.pause), 0.2)
        return RetryPolicy(self.attempts, self.pause)

    @property
    def patience(self) -> float:
        """Seconds without a byte after which a connection counts as lost."""
        return min(2.5, self.timeout) if self.dry_run else self.timeout


def main() -> None:
    flags, experiment = parse_flags(Flags, STAGES["download"].sections)
    name, fraction = experiment.dataset.name, Fraction.parse(flags.fraction)
    mirrors = origins.checked_mirrors(flags.mirror)
    home, raw = flags.places.raw(name).parent, flags.places.raw(name)
    try:
        if flags.origin:
            source, files = origins.from_elsewhere(
                flags.origin, flags.splits, fraction, flags.credentials, flags.retry_policy, flags.patience
            )
        elif name == origins.AUDIOSET and not flags.partition:
            _audioset(flags, fraction, mirrors, home, raw)
            return
        else:
            partition = flags.partition or origins.PARTITIONS.get(name)
            if partition is None:
                made = "run synthesize, which makes its files" if experiment.synthesis else "name a source with --from"
                raise StageError(f"dataset {name} has no mirrors: {made}")
            source, files = origins.from_mirrors(
                partition, flags.splits, fraction, mirrors, flags.retry_policy, flags.patience
            )
    except Unavailable as error:
        raise StageError(f"{error}; {_ELSEWHERE}") from error
    except Refused as error:
        raise StageError(str(error)) from error
    wanted = [Wanted(file, _place(raw / place)) for place, file in files.items()]
    if _bring(flags, source, wanted, home) and not flags.origin:
        _class_names(name, mirrors, home, flags)


def _audioset(flags: Flags, fraction: Fraction, mirrors: Sequence[str], home: Path, raw: Path) -> None:
    """Download AudioSet's archive, unpack the splits that are asked for, and delete the archive."""
    if fraction.parts > 1:
        raise StageError(
            f"--fraction {fraction} is not possible: AudioSet's features come as one archive; choose --splits instead"
        )
    splits = flags.splits or ("train", "eval")
    if unknown := set(splits) - set(archive.FOLDERS):
        raise StageError(
            f"--splits {min(unknown)}: there is no such split in AudioSet's archive; choose from "
            f"{', '.join(archive.FOLDERS)}"
        )
    absent = {archive.FOLDERS[split]: raw / split for split in splits if not archive.is_unpacked(raw / split)}
    if not absent:
        print(f"{raw}: {', '.join(splits)} are there")
        return
    source, file = origins.audioset_archive(mirrors, flags.patience)
    path = home / file.name
    if _bring(flags, source, [Wanted(file, path)], home):
        for folder, count in archive.unpack(path, absent).items():
            print(f"{absent[folder]}: {counted(count, 'file')}")
        path.unlink(missing_ok=True)  # another download may have been first
        _class_names(origins.AUDIOSET, mirrors, home, flags)


def _bring(flags: Flags, source: Source, wanted: list[Wanted], home: Path) -> bool:
    """Download the files and return True, or False after a dry run; raise StageError with what is missing."""
    fetch = Fetch(source, home, flags.workers, flags.retry_policy)
    if flags.dry_run:
        try:
            print(fetch.forecast(wanted, flags.rate))
        except Unavailable as error:
            raise StageError(f"{error}; {_ELSEWHERE}") from error
        print("nothing was downloaded")
        return False
    before = fetch.deliver(wanted, flags.verify)
    print(f"{home}: {counted(len(wanted), 'file')} there and verified, {before} of them before")
    return True


def _place(path: Path) -> Path:
    """Return where a shard belongs: under its own name, or the one that the official script gave it before."""
    other = official_name(path.name)
    return path.with_name(other) if other and path.with_name(other).exists() and not path.exists() else path


def _class_names(name: str, mirrors: Sequence[str], home: Path, flags: Flags) -> None:
    """Download the names of the classes for reports, if there are any; without them everything else still works."""
    known = origins.class_names(name, mirrors, flags.patience)
    if known is None or (path := home / known[1].name).exists():
        return
    try:
        text = read_whole(*known, replace(flags.retry_policy, attempts=min(3, flags.attempts)))
        with atomic_file(path) as temporary:
            temporary.write_bytes(text)
    except (Refused, Unavailable, OSError) as error:
        print(f"the names of the classes could not be downloaded: {error}")


if __name__ == "__main__":
    run_stage(main)
