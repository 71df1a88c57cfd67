"""Video ids: which ids a CSV can hold, which videos are held out, and sets of ids that take 16 bytes for each."""

import hashlib
import heapq
import math

import numpy as np

KEY = np.dtype("S16")
"""The first half of an id's SHA-256. The chance that any two of ten million ids share it is 1e-25."""


def hash_ids(ids: list[str]) -> np.ndarray:
    """Return the keys of some ids, S16 [n]."""
    return np.frombuffer(b"".join([hashlib.sha256(id.encode()).digest()[:16] for id in ids]), KEY)


def is_held_out(keys: np.ndarray, percent: float) -> np.ndarray:
    """Return which training videos are held out, bool [n]; the same for an id on every machine and in every version."""
    return keys.view(">u8")[::2] < np.uint64(math.ceil(percent / 100 * 2**64))


def id_fault(video: str) -> str | None:
    """Return why the challenge's CSV cannot hold an id; None if it can."""
    if not video:
        return "it is empty"
    if video.isprintable() and not {",", '"'} & set(video):
        return None
    return "it holds a comma, a quote or an unprintable character"


class KeySet:
    """A set of keys, kept as sorted arrays; each is at least twice as long as the next, and they merge as they grow."""

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def contains(self, keys: np.ndarray) -> np.ndarray:
        """Return which keys are in the set, bool [n]."""
        found = np.zeros(len(keys), bool)
        for run in self._runs:
            found |= run[np.minimum(np.searchsorted(run, keys), len(run) - 1)] == keys
        return found

    def add(self, keys: np.ndarray) -> np.ndarray:
        """Add keys, and return which of them are new, bool [n]; of equal keys only the first is new."""
        new = np.zeros(len(keys), bool)
        new[np.unique(keys, return_index=True)[1]] = True
        new &= ~self.contains(keys)
        if new.any():
            self._runs.append(np.sort(keys[new]))
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            last = self._runs.pop()
            # A stable sort merges two sorted runs in one pass.
            self._runs[-1] = np.sort(np.concatenate([self._runs[-1], last]), kind="stable")
        return new


class Leakage:
    """The ids that are both trained on and in another split: counts all, and keeps the first by name."""

    def __init__(self, groups: list[str], trained: str | None, listed: int):
        """`groups` are the sets of splits in which ids are unique; `trained` is the one that is trained on, if any."""
        self._sets = {group: KeySet() for group in groups}
        self._trained, self._listed = trained, listed
        self._first: list[tuple[str, bytes]] = []
        self.count = 0

    def add(self, ids: list[str], keys: np.ndarray, group: str) -> np.ndarray:
        """Add ids to a group, and return which of them are new to it, bool [n]."""
        others = [name for name in self._sets if name != group]
        had = {name: self._sets[name].contains(keys) for name in others}
        new = self._sets[group].add(keys)
        if self._trained is not None and others:
            trained = had.pop(self._trained) if group != self._trained else np.zeros(len(keys), bool)
            scored = np.any([*had.values(), np.zeros(len(keys), bool)], axis=0)
            # An id begins to leak when it is new on one side (trained on, or scored) and known on the other.
            leaks = new & (scored if group == self._trained else trained & ~scored)
            self.count += int(leaks.sum())
            found = [(ids[i], keys[i]) for i in np.flatnonzero(leaks)]
            self._first = heapq.nsmallest(self._listed, [*self._first, *found])
        return new

    def first(self) -> list[tuple[str, list[str]]]:
        """Return the first leaking ids in order of their names, and the groups that each is in."""
        keys = np.array([key for _, key in self._first], KEY)
        there = {name: known.contains(keys) for name, known in self._sets.items()}
        return [(id, [name for name in there if there[name][i]]) for i, (id, _) in enumerate(self._first)]
