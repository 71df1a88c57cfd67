"""Store predictions as Parquet: the best labels of each video of a split, written part by part."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts.done import DONE, Done, StageOutput, digest_file, digest_json
from pipeline.artifacts.failures import is_refusal
from pipeline.artifacts.files import atomic_file, read_json, remove_folder, remove_leftovers, write_json
from pipeline.artifacts.hidden import visible
from pipeline.artifacts.parts import forget_parts
from pipeline.config import MOST_CLASSES
from pipeline.config.errors import StageError

_PLAN = "plan.json"


class Predictions(NamedTuple):
    """The best labels of some videos."""

    ids: list[str]
    labels: np.ndarray
    """int16 or, of more classes than that holds, int32 [n,k]; best first."""
    scores: np.ndarray
    """float32 [n,k], descending."""


class PredictionStore:
    """A folder of Parquet parts: id, labels (int16 or int32) and their scores, descending (float32), in index order."""

    def __init__(self, folder: Path):
        self.folder = folder

    def begin(self, config: dict, inputs: dict[str, str], videos: int, videos_per_part: int) -> list[tuple[int, range]]:
        """Return the parts that are still to be written, as (number, range of videos).

        Parts that a killed run wrote from the same config and inputs are kept. Everything else is removed. A finished
        store is removed as a whole, so that no done.json ever describes parts that are gone.
        """
        plan = {"key": digest_json(config, inputs), "videos": videos, "videos_per_part": videos_per_part}
        remove_leftovers(self.folder.parent, self.folder.name)
        if self.folder.exists() and not self.is_begun(config, inputs, videos, videos_per_part):
            remove_folder(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.folder)
        if not (self.folder / _PLAN).exists():
            write_json(self.folder / _PLAN, plan)
        starts = range(0, videos, videos_per_part)
        return [
            (number, range(start, min(start + videos_per_part, videos)))
            for number, start in enumerate(starts)
            if not self._part(number).exists()
        ]

    def is_begun(self, config: dict, inputs: dict[str, str], videos: int, videos_per_part: int) -> bool:
        """Return whether `begin` with the same arguments would go on with what is there."""
        plan = {"key": digest_json(config, inputs), "videos": videos, "videos_per_part": videos_per_part}
        path = self.folder / _PLAN
        return not (self.folder / DONE).exists() and path.exists() and read_json(path) == plan

    def write(self, number: int, predictions: Predictions) -> None:
        """Write one part atomically."""
        kind = np.int16 if predictions.labels.dtype.itemsize == 2 else np.int32
        columns = {
            "id": pa.array(predictions.ids, pa.string()),
            "labels": _rows_of(predictions.labels.astype(kind, copy=False)),
            "scores": _rows_of(predictions.scores.astype(np.float32, copy=False)),
        }
        # Columns without nulls, and scores whose bytes are split by significance, take a third less to read and store.
        schema = pa.schema([pa.field(name, column.type, nullable=False) for name, column in columns.items()])
        with atomic_file(self._part(number)) as temporary:
            pq.write_table(
                pa.table(columns, schema),
                temporary,
                compression="zstd",
                write_page_checksum=True,
                use_dictionary=["labels.list.element"],
                column_encoding={"scores.list.element": "BYTE_STREAM_SPLIT"},
            )

    def finish(self, config: dict, inputs: dict[str, str]) -> Done:
        """Write done.json, which says that every part is there."""
        done = Done(config, inputs, self._content())
        done.write(self.folder)
        forget_parts(self.folder)
        return done

    def is_up_to_date(self, config: dict, inputs: dict[str, str]) -> bool:
        """Return whether the finished store of this config and these inputs is there; print so, or why not."""
        return StageOutput.of(self.folder, self._content).is_up_to_date(config, inputs)

    def is_whole(self) -> bool:
        """Return whether the store is finished, and its parts are those that were written."""
        done = Done.read(self.folder)
        return done is not None and self._content() == done.output

    def write_all(self, config: dict, inputs: dict[str, str], videos_per_part: int, predictions: Predictions) -> None:
        """Write all predictions of a store at once, and finish it."""
        ids, labels, scores = predictions
        for number, videos in self.begin(config, inputs, len(ids), videos_per_part):
            part = slice(videos.start, videos.stop)
            self.write(number, Predictions(ids[part], labels[part], scores[part]))
        self.finish(config, inputs)

    def read(self) -> Iterator[Predictions]:
        """Yield the parts.

        Raises:
            StageError: the store is unfinished, holds other parts than were written, or was made anew meanwhile.
            OSError: the system refuses to read a part.
        """
        done = Done.read(self.folder)
        if done is None:
            raise StageError(f"{self.folder} holds no finished predictions: run infer (or ensemble) for this split")
        whole = self._content() == done.output
        for part in self.parts():
            try:
                predictions = _read(part)
            except (pa.ArrowException, OSError, KeyError, AttributeError, ValueError) as error:
                if is_refusal(error):
                    raise
                raise StageError(f"{part} is damaged ({error}): run infer (or ensemble) again") from error
            if whole:
                yield predictions
        if not whole:
            raise StageError(f"{self.folder} does not hold the parts that were written: run infer (or ensemble) again")
        if Done.read(self.folder) != done:
            raise StageError(f"{self.folder} was made anew while it was read: run the same command again")

    def _content(self) -> str:
        return digest_json([digest_file(part) for part in self.parts()])

    @property
    def videos_per_part(self) -> int:
        """Number of videos in each part but the last."""
        return read_json(self.folder / _PLAN)["videos_per_part"]

    def parts(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))

    def _part(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}.parquet"


def list_predicted_splits(run: Path) -> list[str]:
    """List the splits for which a run has finished predictions."""
    return sorted(done.parent.name for done in visible(run, f"predictions/*/{DONE}"))


def labels_kept_by(runs: Iterable[Path]) -> int:
    """Return how many labels of a video runs keep: those of the run that keeps most; 100 where none notes it."""
    done = [Done.read(run / "predictions" / split) for run in runs for split in list_predicted_splits(run)]
    return max((each.config.get("top_k", 100) for each in done if each), default=100)


def _read(part: Path) -> Predictions:
    with pq.ParquetFile(part, page_checksum_verification=True) as file:
        kinds = {name: file.schema_arrow.field(name).type for name in ("id", "labels", "scores")}
        k = kinds["labels"].list_size
        of_labels, of_scores = kinds["labels"].value_type, kinds["scores"].value_type
        typed = of_labels in (pa.int16(), pa.int32()) and of_scores == pa.float32()
        if kinds["scores"].list_size != k or not typed or not 1 <= k <= MOST_CLASSES:
            raise ValueError(f"its columns are {', '.join(f'{name} {kind}' for name, kind in kinds.items())}")
        table = file.read([*kinds])
    ids, labels, scores = (table[name].combine_chunks() for name in kinds)
    arrays = (values.flatten().to_numpy().reshape(-1, k) for values in (labels, scores))
    return Predictions(ids.to_pylist(), *arrays)


def _rows_of(values: np.ndarray) -> pa.FixedSizeListArray:
    whole = pa.array(np.ascontiguousarray(values).reshape(-1))
    kind = pa.list_(pa.field("element", whole.type, nullable=False), values.shape[1])
    return pa.FixedSizeListArray.from_arrays(whole, type=kind)
