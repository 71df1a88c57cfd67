"""Pages of tags over time: one of each video, and an index of several with a search; HTML that needs no other file."""

import base64
import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from pipeline.artifacts.file_names import FileNames
from pipeline.artifacts.files import atomic_file
from pipeline.inference.answers.tag_files import PAGE, check_folder
from pipeline.reporting.palette import CSS
from pipeline.reporting.tag_values import SeenVideo, Tagging, clock, entry_values, page_values
from pipeline.reporting.templates import templates


class TagPages:
    """Pages on their way; made by `tag_pages`."""

    def __init__(self, path: Path, several: bool, tagging: Tagging):
        self.path = path
        self._folder = path.with_suffix("") if several else None
        self._tagging = tagging
        self._names = FileNames()
        self._listed: list[dict[str, Any]] = []
        self._templates = templates({"clock": clock})

    def add(self, video: SeenVideo) -> None:
        """Write a video's page."""
        if self._folder is None:
            self._write(self.path, "tag_page.html", "tag_page.js", page_values(video, self._tagging, None))
            return
        name = self._names.of(video.id, PAGE)
        index = quote(f"../{self.path.name}")
        self._write(self._folder / name, "tag_page.html", "tag_page.js", page_values(video, self._tagging, index))
        self._listed.append(entry_values(video, self._tagging, quote(f"{self._folder.name}/{name}")))

    def write(self) -> None:
        """Write the index, if there are several videos and any could be read."""
        if self._listed:
            title = f"{len(self._listed)} videos"
            context = {"title": title, "model": self._tagging.model, "videos": self._listed}
            self._write(self.path, "tag_index.html", "tag_index.js", context)

    def _write(self, path: Path, template: str, script: str, context: dict[str, Any]) -> None:
        text = Path(__file__).with_name(script).read_text(encoding="utf-8")
        styles = (CSS, CSS.with_name("tags.css"))
        common = {
            "style": Markup("".join(each.read_text(encoding="utf-8") for each in styles)),
            "script": Markup(text),
            "script_hash": base64.b64encode(hashlib.sha256(text.encode()).digest()).decode(),
        }
        page = self._templates.get_template(template).render(common | context).strip() + "\n"
        with atomic_file(path) as temporary:
            temporary.write_text(page, encoding="utf-8")


@contextlib.contextmanager
def tag_pages(path: Path, several: bool, tagging: Tagging) -> Iterator[TagPages]:
    """Yield the pages at a path: the page of a video; or an index, and each video's page in a folder of its name.

    Raises:
        StageError: the folder has other files than pages and subtitles.
        OSError: the system refuses to write.
    """
    if several:
        check_folder(path, "--page")
    yield TagPages(path, several, tagging)
