"""Recipes: through JSON and back, refused where they are wrong, and applied a piece at a time."""

import json

import numpy as np
import pytest

from pipeline.config.errors import StageError
from pipeline.ensembling.combining import blend
from pipeline.ensembling.recipe import Member, Recipe
from pipeline.ensembling.scales import quantiles_of, to_values

rng = np.random.default_rng(0)
LABELS = [np.argsort(rng.random((50, 40)), axis=1)[:, :k] for k in (10, 20, 15)]
SCORES = [rng.random(kept.shape).astype(np.float32) for kept in LABELS]
QUANTILES = [quantiles_of(scores) for scores in SCORES]


def recipe(scale: str, top_k: int = 12) -> Recipe:
    places = QUANTILES if scale == "ranks" else [()] * 3
    members = [Member(f"m{i}", f"runs/m{i}", weight, places[i]) for i, weight in enumerate((0.25, 0.0, 0.75))]
    return Recipe(tuple(members), scale, top_k)


@pytest.mark.parametrize("scale", ["probabilities", "logits", "ranks"])
def test_through_a_file_and_back_whatever_else_it_holds(scale, tmp_path):
    (tmp_path / "weights.json").write_text(json.dumps({"method": "greedy", **recipe(scale).to_dict(), "scores": {}}))
    assert Recipe.read(tmp_path / "weights.json") == recipe(scale)


@pytest.mark.parametrize("scale", ["probabilities", "logits", "ranks"])
def test_applies_to_the_used_members_a_piece_at_a_time(scale):
    mixed = recipe(scale)
    assert [member.run for member in mixed.used] == ["m0", "m2"]
    kept, given = LABELS[::2], SCORES[::2]
    labels, scores = mixed.apply(kept, given, 40)
    assert labels.shape == (50, 12) and scores.dtype == np.float32
    assert (scores >= 0).all() and (scores <= 1).all() and (np.diff(scores) <= 0).all()
    pieces = [
        mixed.apply([each[i : i + 7] for each in kept], [each[i : i + 7] for each in given], 40)
        for i in range(0, 50, 7)
    ]
    for whole, parts in zip((labels, scores), zip(*pieces)):
        assert np.concatenate(parts).tobytes() == whole.tobytes()
    values = [to_values(each, scale, places) for each, places in zip(given, (QUANTILES[0], QUANTILES[2]))]
    best, means = blend(kept, values, [1, 3], 12, 40)
    assert best.tolist() == labels.tolist()
    if scale == "logits":
        means = 1 / (1 + np.exp(-means.astype(float)))
    np.testing.assert_allclose(scores, means, rtol=1e-6)


def test_a_geometric_mean_by_hand():
    pair = Recipe((Member("a", "a", 1.0), Member("b", "b", 1.0)), "logits", 5)
    _, scores = pair.apply([np.array([[3]])] * 2, [np.array([[0.9]]), np.array([[0.5]])], 5)
    assert scores.tolist() == [[pytest.approx(0.75)]]  # odds of 9 and 1: their geometric mean is 3


def test_longer_lists_than_wanted_and_shorter_ones():
    labels, _ = recipe("probabilities", 100).apply(LABELS[::2], SCORES[::2], 40)
    assert labels.shape == (50, 15)


@pytest.mark.parametrize(
    "damage",
    [
        {"members": []},
        {"combine": "medians"},
        {"top_k": 0},
        {"members": [{"run": "a", "path": "a", "weight": -1.0}]},
        {"members": [{"run": "a", "path": "a", "weight": 0.0}]},
        {"members": [{"run": "a", "path": "a", "weight": float("nan")}]},
        {"members": [{"run": "a", "path": "a"}]},
        {"members": [{"run": "a", "path": "a", "weight": 1.0, "quantiles": [0.1, 0.2]}]},
        {"combine": "ranks"},
        {"combine": "ranks", "members": [{"run": "a", "path": "a", "weight": 1.0, "quantiles": [0.5] * 256 + [0.4]}]},
    ],
)
def test_damaged_files_are_refused_by_name(damage, tmp_path):
    (tmp_path / "weights.json").write_text(json.dumps({**recipe("probabilities").to_dict(), **damage}))
    with pytest.raises(StageError, match=r"weights\.json.*run ensemble again"):
        Recipe.read(tmp_path / "weights.json")


@pytest.mark.parametrize("content", ["[]", "{}", "3", '{"members": 1}', "{"])
def test_files_that_are_no_recipe_are_refused_by_name(content, tmp_path):
    (tmp_path / "weights.json").write_text(content)
    with pytest.raises(StageError, match=r"weights\.json"):
        Recipe.read(tmp_path / "weights.json")


def test_weights_of_a_newer_format_are_refused(tmp_path):
    (tmp_path / "weights.json").write_text(json.dumps({"format": 99, "members": []}))
    with pytest.raises(StageError, match=r"weights\.json is of format 99"):
        Recipe.read(tmp_path / "weights.json")
