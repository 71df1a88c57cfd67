"""Features of many files: processes decode, one computes, in batches across files."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.features.decoding import End, Piece, decode
from pipeline.features.networks import Network
from pipeline.runtime.parallel import Died, prefetch, stream_from_processes

_AHEAD = 4
"""Pieces that wait for the networks."""


class Extracted(NamedTuple):
    """The features of a file."""

    number: int
    """Of the file."""
    features: list[np.ndarray | None]
    """Of each network, float32 [n,F], with as many frames in all; None where the file has no such stream."""
    end: End
    """What was found in the file."""


@dataclass
class _File:
    """What is known of a file so far."""

    parts: list[list[np.ndarray]]
    """Of each network: the feature of each of its inputs, [F], in order."""
    waiting: int = 0
    """Inputs that are not computed yet."""
    end: End | None = None
    repeats: list[list[int]] = field(default_factory=list)
    """Of each network: as `Piece.repeats`."""


class _Batches:
    """The inputs of one network that wait for a full batch, across files where the network allows it."""

    def __init__(self, number: int, network: Network):
        self._number, self._network = number, network
        self._waiting: dict[int, list[tuple[_File, np.ndarray]]] = {}
        self._pool = ThreadPoolExecutor(network.at_once)
        self._under_way: deque[tuple[list[_File], Future[np.ndarray]]] = deque()

    def add(self, file: _File, inputs: np.ndarray) -> None:
        """Take inputs of a file; begin to compute what fills a batch."""
        waiting = self._waiting.setdefault(self._key(file), [])
        for row in inputs:
            waiting.append((file, row))
            file.waiting += 1
            if len(waiting) == self._network.batch:
                self._begin(waiting)
        self._take(2 * self._network.at_once)

    def end_of(self, file: _File) -> None:
        """Compute what waits of a file whose features depend on what else is in a batch."""
        if not self._network.steady:
            self._begin(self._waiting.pop(self._key(file), []))

    def flush(self) -> None:
        """Compute all that waits."""
        for waiting in self._waiting.values():
            self._begin(waiting)
        self._take(0)

    def close(self) -> None:
        """Drop what is not computed yet."""
        self._pool.shutdown(cancel_futures=True)

    def _key(self, file: _File) -> int:
        return 0 if self._network.steady else id(file)

    def _begin(self, waiting: list[tuple[_File, np.ndarray]]) -> None:
        if waiting:
            future = self._pool.submit(self._network, np.stack([row for _, row in waiting]))
            self._under_way.append(([file for file, _ in waiting], future))
            waiting.clear()

    def _take(self, most: int) -> None:
        """Take the features that are computed, in order; wait until at most so many batches are under way."""
        while self._under_way and (len(self._under_way) > most or self._under_way[0][1].done()):
            files, future = self._under_way.popleft()
            for file, row in zip(files, future.result()):
                file.parts[self._number].append(row)
                file.waiting -= 1


def extract(paths: Sequence[Path], networks: Sequence[Network], fps: Fraction, workers: int) -> Iterator[Extracted]:
    """Yield the features of files, as they are done.

    The features of a file do not depend on the number of workers or on the other files.

    Args:
        paths: of the files.
        networks: the backbones.
        fps: frames a second.
        workers: processes that decode.
    """
    backbones = [network.backbone for network in networks]
    threads = 1 if workers > 1 and len(paths) > 1 else max(workers, 1)
    batches = [_Batches(number, network) for number, network in enumerate(networks)]
    files: dict[int, _File] = {}
    pieces = stream_from_processes(decode, list(paths), workers, (backbones, fps, threads))
    try:
        for number, piece in prefetch(pieces, _AHEAD) if workers > 1 else pieces:
            file = files.setdefault(number, _File([[] for _ in networks], repeats=[[] for _ in networks]))
            if isinstance(piece, Piece):
                file.repeats[piece.backbone] += piece.repeats
                batches[piece.backbone].add(file, piece.inputs)
            else:
                died = isinstance(piece, Died)
                file.end = End(0, False, False, f"FFmpeg died of it ({piece.status})") if died else piece
                for each in batches:
                    each.end_of(file)
            yield from _done(files, networks)
        for each in batches:
            each.flush()
        yield from _done(files, networks)
    finally:
        for each in batches:
            each.close()


def _done(files: dict[int, _File], networks: Sequence[Network]) -> Iterator[Extracted]:
    """Yield the files of which everything is computed, and forget them."""
    for number in [number for number, file in files.items() if file.end and not file.waiting]:
        file = files.pop(number)
        features = []
        for network, parts, repeats in zip(networks, file.parts, file.repeats):
            found = None
            if parts and file.end.frames:
                values = np.stack(parts)
                if network.backbone.task == "frames":
                    found = np.repeat(values, repeats, axis=0)
                else:
                    found = _means(values, repeats)
            features.append(found)
        frames = min([len(each) for each in features if each is not None], default=0)  # fewer, where one broke off
        features = [None if each is None else each[:frames] for each in features]
        yield Extracted(number, features, file.end._replace(frames=frames))


def _means(values: np.ndarray, counts: list[int]) -> np.ndarray:
    """Return the mean of the windows of each frame, float32 [n,F]; `counts` are the same for all frames."""
    return values if counts[0] == 1 else values.reshape(len(counts), counts[0], -1).mean(axis=1, dtype=np.float32)
