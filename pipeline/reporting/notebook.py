"""What the notebooks import: a preset's artifacts, and the report's pictures outside of its page."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, zip_longest

from markupsafe import Markup

from pipeline.artifacts.places import list_scored
from pipeline.cli.flags import CommonFlags
from pipeline.config.errors import StageError
from pipeline.inputs.index import Index
from pipeline.presets import load_experiment
from pipeline.reporting import runs, style
from pipeline.reporting.palette import CSS, palette

PRESET = "PRESET"
"""The environment variable that names the preset."""

_OWN = """.pictures {
  color-scheme: light; background: var(--paper); color: var(--ink); font: 14px system-ui, sans-serif;
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); gap: 1rem 2rem; padding: 1rem;
}
.pictures figure { margin: 0; }
.pictures figcaption { color: var(--muted); }
.pictures p { grid-column: 1 / -1; margin: 0; }
.pictures span { white-space: nowrap; margin-right: 1.5rem; }"""
_LINE = Markup(
    '<span><svg width="32" height="12" aria-hidden="true"><line x1="0" x2="32" y1="6" y2="6" stroke-width="2.5" '
    'stroke="{1}" stroke-dasharray="{2}"/></svg> {0}</span>'
)


@dataclass(frozen=True)
class Artifacts:
    """What the stages have made for one preset."""

    flags: CommonFlags
    """The preset, and where its files lie."""
    index: Index
    names: list[str]
    """The names of the classes."""

    @classmethod
    def of(cls, preset: str | None = None) -> "Artifacts":
        """Open the artifacts of a preset, by name or file; by default $PRESET, or the demo.

        Raises:
            StageError: there is no index. The message names the command that makes everything.
        """
        flags = CommonFlags(preset=preset or os.environ.get(PRESET) or CommonFlags.preset)
        dataset = load_experiment(flags.preset).dataset
        folder = flags.places.index(dataset.name)
        if not folder.exists():
            raise _missing(f"{folder.resolve()} is not there", flags)
        index = Index.open(folder)
        return cls(flags, index, index.class_names)

    def runs(self, split: str) -> list[runs.Run]:
        """Return the runs and the blend that have predicted a split, best first; StageError if there are none."""
        folders = list_scored(self.flags.places, self.flags.preset_name)
        every = [runs.read_run(folder, self.index) for folder in folders]
        scored = sorted((run for run in every if split in run.scores), key=lambda run: (-run.score(split), run.name))
        if not scored:
            folder = (self.flags.places.runs_dir / self.flags.preset_name).resolve()
            raise _missing(f"no run in {folder} has predicted {split}", self.flags)
        return scored


class Pictures:
    """Pictures of `pipeline.reporting` side by side in a notebook, on light paper whatever the notebook's colors.

    Args:
        pictures: what functions of `figures` and `heat` return.
        captions: a line below each picture.
        key: the names of lines, in the order of their colors and dashes.
    """

    def __init__(self, *pictures: Markup, captions: Sequence[str] = (), key: Sequence[str] = ()):
        self.pictures = pictures
        self.captions = captions
        self.key = key

    def _repr_html_(self) -> str:
        captions = [Markup("<figcaption>{}</figcaption>").format(each) for each in self.captions]
        pictures = Markup("").join(
            Markup("<figure>{}{}</figure>").format(*each) for each in zip_longest(self.pictures, captions, fillvalue="")
        )
        lines = zip(self.key, cycle(style.COLORS), cycle(style.DASH_ARRAYS))
        key = Markup("<p>{}</p>").format(Markup(" ").join(_LINE.format(*line) for line in lines)) if self.key else ""
        return Markup('<style>{}</style><div class="pictures">{}</div>').format(_rules(), pictures + key)


def _rules() -> Markup:
    """Return the page's light colors and its rules for pictures, limited to `.pictures`."""
    light, _ = palette()
    heat = re.findall(r"^\.heat [^{]+\{[^}]+\}$", CSS.read_text(encoding="utf-8"), re.M)
    return Markup("\n".join([f".pictures {{ {light} }}", _OWN, *(f".pictures {rule}" for rule in heat)]))


def _missing(what: str, flags: CommonFlags) -> StageError:
    return StageError(f"{what}: `./run_all.sh --preset {flags.preset}` makes everything")
