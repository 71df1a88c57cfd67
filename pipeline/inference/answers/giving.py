"""Give the answers to all videos: print them as they come, or write them to a file, and tell what it holds."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.artifacts.done import digest_json
from pipeline.config.wording import counted
from pipeline.inference.answers.answer_file import answer_file
from pipeline.inference.answers.answering import Answer, Asked, table_lines
from pipeline.inference.answers.tag_files import SUFFIXES, tag_file
from pipeline.inference.given.all_videos import GivenVideos
from pipeline.inference.given.unreadable import Unreadable
from pipeline.inference.given.videos import OwnVideo
from pipeline.inputs.index.sources import size_and_mtime
from pipeline.inputs.reading.own_records import UnreadableVideo
from pipeline.runtime.output import printable_json
from pipeline.runtime.progress import progress_bar


class Giving:
    """What is asked of which videos, and how many were good.

    Args:
        asked: who is asked, and what.
        given: the videos.
        unreadable: what was found to be unreadable already; it gets those that reading finds.
        take: gets each answer that was not known, for what it holds beside its values.
    """

    def __init__(self, asked: Asked, given: GivenVideos, unreadable: Unreadable, take: Callable[[Answer], None]):
        self._asked, self._given, self._unreadable, self._take = asked, given, unreadable, take
        self.good = 0
        """Videos that were answered, or whose answers were known."""

    def print_all(self, as_json: bool) -> None:
        """Print a table, or JSON lines."""
        for video, values in self._answers():
            if isinstance(video, UnreadableVideo):
                self._unreadable.tell(video)
            elif values:
                self.good += 1
                told = printable_json({"id": video.id, **values}) if as_json else None
                print(told or table_lines(video.id, **values))

    def write_file(self, output: Path, align: str | None, go_on: bool) -> None:
        """Write a file of answers or of intervals, as its name says, and tell what it holds.

        Args:
            output: the file.
            align: how features were aligned, on which answers depend.
            go_on: keep the answers that are there and still hold.

        Raises:
            StageError, OSError: as `answer_file` and `tag_file` do.
        """
        tables = [[str(path), *size_and_mtime(path)] for path in self._given.files.tables]
        names, top, *times = self._asked.settings()
        model = digest_json(self._asked.ensemble.digest(), names, top, align, tables, *times)
        total = self._given.total()
        file = tag_file(output, total > 1) if output.suffix in SUFFIXES else answer_file(output, model, go_on=go_on)
        with file as answers, progress_bar(total=total, desc="predict", unit=" videos") as bar:
            for video, values in self._answers(answers.has):
                bar.update()
                if isinstance(video, UnreadableVideo):
                    self._unreadable.tell(video, bar.write)
                    continue
                self.good += 1
                if values:
                    answers.add(video, values)
                else:
                    answers.keep(video)
            dropped = answers.write() if self.good else []
        if not self.good:
            print(f"{output}: nothing is written, since no video could be read", file=sys.stderr)
            return
        new = self.good - answers.kept
        print(f"{answers.path}: {counted(self.good, 'video')}; {new} predicted, {answers.kept} kept")
        for told in dropped:
            print(f"{output}: dropped {told}")

    def _answers(
        self, is_known: Callable[[OwnVideo], bool] = lambda video: False
    ) -> Iterator[tuple[OwnVideo | UnreadableVideo, dict[str, Any] | None]]:
        """Yield each video and what is said of it, if that is not known."""
        for answer in self._asked.answers(self._given.videos(is_known), is_known):
            self._take(answer)
            yield answer.video, answer.values
