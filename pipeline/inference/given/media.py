"""Video and sound files of one's own: their features are extracted as those were that the model was trained on."""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.config import DatasetConfig
from pipeline.config.errors import StageError
from pipeline.features.backbone import Recipe
from pipeline.features.extraction import Extracted, extract
from pipeline.features.finding import find_by_checksum
from pipeline.features.media import load_av
from pipeline.features.networks import Network
from pipeline.features.thumbnails import thumbnails
from pipeline.inference.given.videos import OwnVideo, as_stored
from pipeline.packing.sources.source import UnreadableFeature
from pipeline.runtime.parallel import default_workers


def extracted_fps(dataset: DatasetConfig) -> float | None:
    """Return how many frames of a second extract took for a dataset; None if it did not make the features."""
    made_by = dataset.features[0].made_by
    return float(Recipe.of_text(made_by).fps) if made_by else None


class OwnMedia:
    """Files whose features are extracted when the first of them is read, those of later files ahead.

    Args:
        paths: of the files.
        dataset: what the model needs; each feature has its recipe.
        named: files of backbones.
        folder: of the files of backbones that extract has kept.
        workers: processes that decode.
        missing: whether zeros stand for pictures or sound that a file lacks, or it cannot be used.

    Raises:
        StageError: extract did not make the features that the model was trained on; or the file of a backbone is not
            there; or PyAV is not installed.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        dataset: DatasetConfig,
        named: Sequence[Path],
        folder: Path,
        workers: int,
        missing: Literal["leave_out", "zeros"],
    ):
        load_av()
        for feature in dataset.features:
            if not feature.made_by:
                raise StageError(
                    f"{paths[0]} is a video or sound file, and the feature {feature.name} that the model needs was not "
                    "made by extract: extract features as those were that the model was trained on, and predict these"
                )
        self._paths, self._dataset, self._workers, self._missing = list(paths), dataset, workers, missing
        self._recipes = [Recipe.of_text(feature.made_by) for feature in dataset.features]
        self._places = [find_by_checksum(each.backbone, named, folder) for each in self._recipes]
        self.damaged: list[str] = []
        """Files that could not be read to their end, with the reason and what could be read."""

    def __len__(self) -> int:
        return len(self._paths)

    def videos(self, is_known: Callable[[OwnVideo], bool] = lambda video: False) -> Iterator[OwnVideo]:
        """Yield the files in their order; those that are known are not extracted."""
        done: dict[Path, Extracted] = {}
        under_way: list[Iterator[tuple[Path, Extracted]]] = []

        def read(path: Path) -> np.ndarray:
            if not under_way:
                under_way.append(self._extract([each.places[0][0] for each in found if not is_known(each)]))
            while path not in done:
                done.update([next(under_way[0])])
            return self._frames(path, done.pop(path))

        found = [
            OwnVideo(
                path.stem,
                str(path),
                ((path, ""),),
                lambda path=path: read(path),  # type: ignore[misc]
                lambda path=path: thumbnails(path),  # type: ignore[misc]
            )
            for path in self._paths
        ]
        yield from found

    def _extract(self, paths: list[Path]) -> Iterator[tuple[Path, Extracted]]:
        networks = [
            Network(recipe.backbone, place, default_workers()) for recipe, place in zip(self._recipes, self._places)
        ]
        fps: Fraction = self._recipes[0].fps
        for each in extract(paths, networks, fps, self._workers):
            yield paths[each.number], each

    def _frames(self, path: Path, extracted: Extracted) -> np.ndarray:
        """Return the frames of a file as the model wants them. Raises UnreadableFeature."""
        end = extracted.end
        if not end.frames:
            raise UnreadableFeature(str(path), f"{end.fault}; nothing could be read: copy or make it again")
        parts = []
        for feature, values in zip(self._dataset.features, extracted.features):
            if values is None and self._missing == "leave_out":
                reason = f"there is nothing in it to make {feature.name} of, which the model needs: --missing zeros "
                raise UnreadableFeature(str(path), f"{reason}takes zeros in place of it")
            if values is None:
                values = np.zeros((end.frames, feature.size), np.float32)
            parts.append(as_stored(values, feature, str(path)))
        if end.fault:
            self.damaged.append(f"{path}: {end.fault}; {end.frames} frames could be read and are predicted")
        return np.concatenate(parts, axis=1)
