"""Extract the features of some files as a task of a cluster, with networks that a process loads once."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from pipeline.features.extraction import extract
from pipeline.features.finding import Chosen
from pipeline.features.networks import Network
from pipeline.features.store import Store, StoredFile
from pipeline.runtime.parallel import default_workers

MOST = 32
"""Files of a task: processes that decode them start once for all."""


@dataclass(frozen=True)
class Extraction:
    """What a process needs to extract the features of any files."""

    chosen: list[Chosen]
    """The backbones, with their files where all machines find them."""
    fps: Fraction
    store: Store

    @functools.cached_property
    def networks(self) -> list[Network]:
        return [Network(each.backbone, each.path, default_workers()) for each in self.chosen]


def extract_files(extraction: Extraction, files: Sequence[tuple[str, Path]]) -> list[tuple[str, StoredFile]]:
    """Extract and store the features of files, given as (id, path); return what is stored of each, by its id."""
    # Two processes at least, so that one which dies of a damaged file ends that file alone.
    decoders = max(default_workers(), 2)
    stored = []
    for extracted in extract([path for _, path in files], extraction.networks, extraction.fps, decoders):
        id, path = files[extracted.number]
        stored.append((id, extraction.store.write(id, path, extracted)))
    return stored
