"""Ids met before, against Python's sets."""

import hashlib

import numpy as np
import pytest

from pipeline.inputs.index.ids import KeySet, Leakage, hash_ids, is_held_out


def test_keys_are_the_first_half_of_the_hash():
    ids = ["", "aDoE", "ключ"]
    keys = hash_ids(ids)
    assert [key.ljust(16, b"\0") for key in keys.tolist()] == [hashlib.sha256(i.encode()).digest()[:16] for i in ids]
    assert len(hash_ids([])) == 0


@pytest.mark.parametrize("percent", [0, 0.001, 2, 50, 99.9])
def test_held_out_is_a_threshold_on_the_first_eight_bytes(percent):
    ids = [f"video {i}" for i in range(3000)]
    first = [int.from_bytes(hashlib.sha256(i.encode()).digest()[:8], "big") for i in ids]
    assert is_held_out(hash_ids(ids), percent).tolist() == [number < percent / 100 * 2**64 for number in first]


def test_a_set_of_keys_is_a_set():
    random, known, seen = np.random.default_rng(0), KeySet(), set()
    for _ in range(200):
        ids = [f"{number}" for number in random.integers(0, 20_000, random.integers(0, 300))]
        expected = []
        for id in ids:
            expected.append(id not in seen)
            seen.add(id)
        assert known.add(hash_ids(ids)).tolist() == expected
    asked = [f"{number}" for number in range(0, 40_000, 7)]
    assert known.contains(hash_ids(asked)).tolist() == [id in seen for id in asked]


def test_keys_that_end_in_zeros_are_told_apart():
    known = KeySet()
    keys = np.array([b"a" * 15, b"a" * 14, b""], "S16")
    assert known.add(keys).all() and not known.add(keys).any()


def test_leakage_is_what_sets_say():
    random = np.random.default_rng(1)
    leakage, sets = Leakage(["train", "eval", "test"], "train", 5), {"train": set(), "eval": set(), "test": set()}
    for _ in range(100):
        group = ["train", "eval", "test"][random.integers(3)]
        ids = [f"v{number}" for number in random.integers(0, 4000, 30)]
        new = leakage.add(ids, hash_ids(ids), group)
        assert {id for id, is_new in zip(ids, new) if is_new} == set(ids) - sets[group]
        sets[group] |= set(ids)
    leaked = sets["train"] & (sets["eval"] | sets["test"])
    assert leakage.count == len(leaked) > 100
    first = sorted(leaked)[:5]
    assert leakage.first() == [(id, [name for name in sets if id in sets[name]]) for id in first]


def test_without_training_nothing_leaks():
    leakage = Leakage(["eval", "test"], None, 5)
    for group in ("eval", "test"):
        assert leakage.add(["a"], hash_ids(["a"]), group).all()
    assert leakage.count == 0 and leakage.first() == []
