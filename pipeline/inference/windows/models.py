"""One model on the windows of one video: what is made of each frame is made once, where the family allows that."""

import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.config.wording import counted
from pipeline.inference.activations import videos_at_once
from pipeline.inference.bundle.onnx_model import OnnxModel
from pipeline.runtime.memory import is_out_of_memory

_FRAMES, _FEWEST = 256, 16
"""Frames that go to the device at a time, at most; and the fewest frames or windows, which are padded to that."""
_MOST_VALUES = 1 << 26
"""Values that are in memory at a time, of the frames of some windows."""


class WindowModel:
    """Scores windows of frames that are all in memory.

    Of families whose frames do not see each other before they are pooled, each frame's products are computed once, and
    windows are pooled from them. Others, and those that ONNX Runtime runs, see window by window.

    Args:
        model: of `pipeline.models`, or an `OnnxModel`.
        batch_size: how many windows go to the device at a time, at most.
    """

    def __init__(self, model, batch_size: int):
        self._model = model
        self._batch_size = batch_size
        self.halves = None
        if not isinstance(model, OnnxModel):
            from pipeline.models.windowed import cut_in_two  # only now: Keras takes seconds

            self.halves = cut_in_two(model)

    def probabilities(
        self, frames: np.ndarray, starts: NDArray[np.integer], chosen: NDArray[np.integer]
    ) -> NDArray[np.float32]:
        """Return the probabilities of each window, [W,V].

        Args:
            frames: as stored, [n,F].
            starts: the first frame of each window, [W].
            chosen: which frames of a window the model is to see, from its first one on, ascending, [T]. One that is
                there several times counts as often.

        Raises StageError as `videos_at_once` does.
        """
        if self.halves is None:
            num_frames = np.full(1, len(chosen), np.int32)

            def whole(starts: NDArray[np.integer]) -> np.ndarray:
                inputs = {"frames": frames[starts[:, None] + chosen], "num_frames": num_frames.repeat(len(starts))}
                return self._model.predict_on_batch(inputs)

            return self._of_windows(whole, starts, len(chosen) * frames.shape[1], len(chosen))
        first, second = self.halves
        products = _products(first, frames)
        seen, counts = np.unique(chosen, return_counts=True)
        counts = counts.astype(np.float32)[None]  # 1,N

        def pooled(starts: NDArray[np.integer]) -> np.ndarray:
            places = starts[:, None] + seen  # W,N
            shown = {"places": places.astype(np.int32), "counts": counts.repeat(len(starts), axis=0)}
            return second.predict_on_batch(shown | products)

        return self._of_windows(pooled, starts, len(seen) * sum(each[0].size for each in products.values()), len(seen))

    def _of_windows(
        self,
        predict: Callable[[NDArray[np.integer]], np.ndarray],
        starts: NDArray[np.integer],
        values: int,
        frames: int,
    ) -> NDArray[np.float32]:
        """Return what `predict` says of all windows, of which each takes so many values, of so many frames."""
        found, start = [], 0
        self._batch_size = videos_at_once([self._model], frames, self._batch_size, "window")
        while start < len(starts):
            size = piece(len(starts) - start, max(1, min(self._batch_size, _MOST_VALUES // values)))
            shown = starts[np.minimum(np.arange(start, start + size), len(starts) - 1)]
            try:
                found.append(np.asarray(predict(shown), np.float32))
            except Exception as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
                self._batch_size = size // 2
                told = f"out of memory: continuing with {counted(self._batch_size, 'window')} in a batch"
                print(told, file=sys.stderr, flush=True)
                continue
            start += size
        return np.concatenate(found)[: len(starts)]


def _products(first, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the first half of a model makes of each frame of a video [n,F]: name -> [T,..], padded at the end."""
    found, start = [], 0
    while start < len(frames):
        size = piece(len(frames) - start, _FRAMES)
        shown = frames[start : start + size]
        padded = np.zeros((1, size, frames.shape[1]), frames.dtype)
        padded[0, : len(shown)] = shown
        made = first.predict_on_batch({"frames": padded, "num_frames": np.array([len(shown)], np.int32)})
        found.append({name: np.asarray(each)[0] for name, each in made.items()})
        start += size
    return {name: _padded(np.concatenate([part[name] for part in found])) for name in found[0]}


def _padded(products: np.ndarray) -> np.ndarray:
    """Return products [T,..] of more frames, so that there are few lengths: a model is compiled for each."""
    length = len(products)
    more = -length % _FRAMES if length > _FRAMES else (1 << (length - 1).bit_length()) - length
    return np.concatenate([products, np.zeros((more, *products.shape[1:]), products.dtype)]) if more else products


def piece(left: int, most: int) -> int:
    """Return how many of what is left, at least 1, go to the device next: `most`, or a power of 2.

    A model is compiled for each size, and each call takes its time: so there are few of both, and little is padded.
    Only the last piece may be larger than what is left, by half at most unless that is less than the fewest.
    """
    if left >= most:
        return most
    larger = 1 << (left - 1).bit_length()
    return min(most, max(_FEWEST, larger if 2 * larger <= 3 * left else larger // 2))
