"""Every family on videos that carry nothing or are of another size: all stays finite, the good ones lose nothing."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from fixtures.degenerate import Trained, good, of_another_size, without_content
from fixtures.support import ROOT

from pipeline.metrics import global_average_precision
from pipeline.models import FAMILIES

PRECISIONS = ["float32", "mixed_bfloat16"]
QUICK = {("average", "float32"), ("netvlad", "mixed_bfloat16")}
"""Always trained; the others take minutes."""
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
BAD = {
    "silent": 0,
    "1000 times as large": 1e3,
    "30 times as large": 30,
    "frames 1000 times as large": 1e3,
    "1e30 times as large": 1e30,
}


def faults(family: str, dtype: str, precision: str, tried: Callable[[str], bool] = lambda what: True) -> list[str]:
    """What is not finite after two steps on each kind of batch."""
    frames, labels = good(8, 0, dtype)
    trained, found = Trained(family, dtype, precision, len(frames)), []
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


@pytest.mark.parametrize("family", FAMILIES)
def test_what_tells_most(family):
    assert not faults(family, "float32", "float32", TELLING.__contains__)


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_kind(family, dtype, precision):
    assert not faults(family, dtype, precision)


@pytest.mark.long
@pytest.mark.parametrize("family", ["netvlad", "second_order"])
def test_on_jax(family):
    subprocess.run(
        [sys.executable, __file__, family],
        check=True,
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
    )


@pytest.mark.parametrize(
    ("family", "precision"),
    [
        pytest.param(*case, marks=() if case in QUICK else pytest.mark.long)
        for case in itertools.product(FAMILIES, PRECISIONS)
    ],
)
def test_good_videos_are_ranked_as_if_the_bad_ones_were_not_there(family, precision):
    """One video in 33 is bad; the hold-out has good ones alone."""
    batch_size = 32
    frames, labels = good(512, 0, "float32")
    bad, bad_labels = good(16, 9, "float32")
    heldout, truth = good(1000, 1, "float32")
    trained = Trained(family, "float32", precision, batch_size)

    def gap(more: np.ndarray) -> float:
        videos, wanted = np.concatenate([frames, more]), np.concatenate([labels, bad_labels[: len(more)]])
        rng = np.random.default_rng(3)
        order = np.concatenate([rng.permutation(len(videos)) for _ in range(8)])
        trained.restart()
        for start in range(0, len(order) - batch_size + 1, batch_size):
            chosen = order[start : start + batch_size]
            trained.step(videos[chosen], videos.shape[1], wanted[chosen])
        return global_average_precision(trained.predict(heldout), truth)

    expected = gap(bad[:0])
    assert expected > 0.85
    for what, times in BAD.items():
        changed = bad.astype(np.float64)
        changed[:, 3 if "frames" in what else slice(None)] *= times
        assert gap(np.clip(changed, -3e38, 3e38).astype(np.float32)) > expected - 0.02, what


if __name__ == "__main__":
    sys.exit("\n".join(faults(sys.argv[1], "float32", "float32")))
