"""The videos of one predict: from files of features and records, and from video files, whose features are extracted."""

import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipeline.config.wording import first_lines
from pipeline.inference.given.files import OwnFiles
from pipeline.inference.given.media import OwnMedia
from pipeline.inference.given.videos import OwnVideo
from pipeline.inputs.reading.own_records import UnreadableVideo

_LISTED = 5


@dataclass(frozen=True)
class GivenVideos:
    """All that was found, before anything of it is read."""

    files: OwnFiles
    """Of features, and records."""
    media: OwnMedia | None
    """Video and sound files."""

    def total(self) -> int:
        """Return how many there are."""
        return self.files.total() + (len(self.media) if self.media else 0)

    def videos(
        self, is_known: Callable[[OwnVideo], bool] = lambda video: False
    ) -> Iterator[OwnVideo | UnreadableVideo]:
        """Yield all of them, in the order of the files; tell at the end which ids several of them have.

        Features of video files are extracted ahead, but for those that are known.
        """
        first: dict[str, str] = {}
        twice: list[str] = []
        for each in itertools.chain(self.files.videos(), self.media.videos(is_known) if self.media else ()):
            if isinstance(each, OwnVideo) and first.setdefault(each.id, each.where) != each.where:
                places = f"{first[each.id]} and in {each.where}"
                twice.append(f"{each.id!r} is the id of two videos, in {places}; both are predicted")
            yield each
        for told in first_lines(twice, _LISTED, "and {} more with ids of other videos"):
            print(told, file=sys.stderr)

    def tell_twice(self) -> None:
        """Tell which files are named twice."""
        twice = [f"{path} is named twice, and read once" for path in self.files.twice]
        for told in first_lines(twice, _LISTED):
            print(told, file=sys.stderr)

    def damaged(self) -> list[str]:
        """Return a line for each video file that was read, and could not be read to its end."""
        return self.media.damaged if self.media else []
