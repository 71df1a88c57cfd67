"""Every family on videos that carry nothing or are of another size: all stays finite, the good ones lose nothing."""

import itertools
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from fixtures.degenerate import FRAMES, Trained, bad_ones, good, of_another_size, without_content
from fixtures.support import OTHER_BACKENDS, ROOT, on_backend

from pipeline.metrics import global_average_precision
from pipeline.models import FAMILIES

DTYPES = ["float32", "uint8"]
PRECISIONS = ["float32", "mixed_bfloat16"]
QUICK = {("average", "float32", "float32")}
"""Always trained; the others take minutes. Floats have every kind of bad video."""
QUICK_FAMILIES = {"average", "dbof", "netvlad", "nextvlad", "second_order"}
"""Of the others a step takes long to trace."""
TELLING = {
    "all silent",
    "some silent",
    "all one constant",
    "single frames, the same",
    "all at 1e-40",
    "all at +-1e+30",
    "a video at +-1e+30",
    "a frame at +-3e+38",
}
"""Kinds that are always tried."""
ORDERS = 3
"""Of the videos, over which GAP is averaged: of one order it differs by 0.01 by chance."""


def faults(
    family: str, dtype: str, precision: str, tried: Callable[[str], bool] = lambda what: True, features: int = 2
) -> list[str]:
    """What is not finite after two steps on each kind of batch."""
    frames, labels = good(8, 0, dtype)
    trained, found = Trained(family, dtype, precision, len(frames), features), []
    kinds = [*without_content(frames), *(of_another_size(frames) if dtype == "float32" else [])]
    kinds = [kind for kind in kinds if tried(kind[0])]
    assert len(kinds) >= len(TELLING)
    for what, bad, valid in kinds:
        trained.restart()
        values = {"predictions at first": trained.predict(bad, valid)}
        values["loss"] = np.array([trained.step(bad, valid, labels) for _ in range(2)])
        values |= {weight.path: np.asarray(weight) for weight in trained.model.weights}
        values["predictions of good videos"], values["predictions"] = (
            trained.predict(frames),
            trained.predict(bad, valid),
        )
        found += [f"{what}: {name}" for name, value in values.items() if not np.isfinite(value).all()]
    return found


@pytest.mark.wide
@pytest.mark.parametrize(
    "family", [pytest.param(family, marks=() if family in QUICK_FAMILIES else pytest.mark.long) for family in FAMILIES]
)
def test_what_tells_most(family):
    assert not faults(family, "float32", "float32", TELLING.__contains__, features=1)


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_kind(family, dtype, precision):
    assert not faults(family, dtype, precision)


@pytest.mark.long
@pytest.mark.parametrize("family", ["netvlad", "second_order"])
@pytest.mark.parametrize("backend", OTHER_BACKENDS)
def test_on_other_backends(family, backend):
    subprocess.run([sys.executable, __file__, family], check=True, cwd=ROOT, env=on_backend(backend))


@pytest.mark.wide
@pytest.mark.parametrize(
    ("family", "dtype", "precision"),
    [
        pytest.param(*case, marks=() if case in QUICK else pytest.mark.long)
        for case in itertools.product(FAMILIES, DTYPES, PRECISIONS)
    ],
)
def test_good_videos_are_ranked_as_if_the_bad_ones_were_not_there(family, dtype, precision):
    """One video in 33 is bad; the hold-out has good ones alone."""
    batch_size = 32
    frames, labels = good(512, 0, dtype)
    videos, bad_labels = good(16, 9, dtype)
    heldout, truth = good(1000, 1, dtype)
    trained = Trained(family, dtype, precision, batch_size)
    everyone, wanted = np.concatenate([frames, videos]), np.concatenate([labels, bad_labels])

    def gap(bad: np.ndarray | None, valid: int, seed: int) -> float:
        if bad is not None:
            everyone[len(frames) :] = bad
        num_frames = np.full(len(everyone), FRAMES)
        num_frames[len(frames) :] = valid
        rng = np.random.default_rng(seed)
        count = len(frames) if bad is None else len(everyone)
        order = np.concatenate([rng.permutation(count) for _ in range(8)])
        trained.restart()
        for start in range(0, len(order) - batch_size + 1, batch_size):
            chosen = order[start : start + batch_size]
            trained.step(everyone[chosen], num_frames[chosen], wanted[chosen])
        return global_average_precision(trained.predict(heldout), truth)

    orders = range(1 if (family, dtype, precision) in QUICK else ORDERS)
    expected = np.mean([gap(None, FRAMES, seed) for seed in orders])
    assert expected > 0.85
    lost = {}
    for what, bad, valid in bad_ones(videos):
        lost[what] = round(float(expected - np.mean([gap(bad, valid, seed) for seed in orders])), 4)
    print(f"{family}, {dtype}, {precision}: GAP {expected:.4f} without bad videos, less by {lost}")
    assert max(lost.values()) < 0.02, lost


if __name__ == "__main__":
    sys.exit("\n".join(faults(sys.argv[1], "float32", "float32")) or None)
