"""The preset that pack writes: it loads, says what is stored, and has settings that suit few videos and many."""

import json
import warnings

import pytest

from pipeline.config import POOLING, FeatureConfig, check_model_fits_dataset
from pipeline.packing.preset import LONGEST, MODELS, Counts, batch_of, clusters_of, holdout_of, preset_text
from pipeline.presets import load_experiment

FEATURES = [
    FeatureConfig('clip "B/32"', 512, "float16"),
    FeatureConfig("ton\\höhe", 3, "float16"),
]


@pytest.mark.parametrize("model", MODELS)
def test_it_loads_with_any_names(model, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        preset_text('Vögel "x"', str(path), FEATURES, Counts(7, 500, 90, grouped=True, named=True)), encoding="utf-8"
    )
    with warnings.catch_warnings(action="error"):
        experiment = load_experiment(str(path), model)
    dataset = experiment.dataset
    assert (dataset.name, list(dataset.features)) == ('Vögel "x"', FEATURES)
    assert (dataset.num_classes, dataset.max_frames, dataset.group_key) == (7, 90, "group")
    assert experiment.model.family == model and model in POOLING
    clusters = getattr(experiment.model.pooling, "clusters", None)
    assert clusters == (None if model == "average" else (64, 64)), "512 values in 64 clusters are 32,768"


@pytest.mark.parametrize(
    ("sizes", "trained", "clusters"),
    [
        ((12,), 270, None),
        ((128,), 22_160, None),
        ((129,), 22_160, (128,)),
        ((1024,), 39, (32,)),
        ((1024,), 100_000, None),
        ((1024, 128), 39, (32, 64)),
        ((20_000, 768), 39, (8, 32)),
    ],
)
def test_wide_features_of_few_videos_get_fewer_clusters(sizes, trained, clusters):
    assert clusters_of(sizes, trained) == clusters


@pytest.mark.parametrize(("task", "head"), [("multi_label", "moe"), ("single_label", "softmax")])
def test_the_head_fits_the_task(task, head, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        preset_text("x", "own.py", FEATURES, Counts(3, 90, 90, grouped=True, named=True, task=task)), encoding="utf-8"
    )
    experiment = load_experiment(str(path))
    check_model_fits_dataset(experiment)
    assert (experiment.dataset.task, experiment.model.classifier.head) == (task, head)


def test_ranges_of_bytes_are_declared_to_the_last_digit(tmp_path):
    feature = FeatureConfig("a", 5, "uint8", minimum=-0.1, maximum=1 / 3)
    path = tmp_path / "own.py"
    path.write_text(
        preset_text("x", "own.py", [feature], Counts(1, 10, 10_000, grouped=False, named=False)), encoding="utf-8"
    )
    dataset = load_experiment(str(path)).dataset
    assert dataset.features == (feature,) and dataset.max_frames == LONGEST and dataset.group_key == ""


def test_a_hold_out_of_its_own_needs_no_share(tmp_path):
    path = tmp_path / "own.py"
    text = preset_text("x", "own.py", FEATURES, Counts(1, 10, 10, grouped=False, named=True, held_out=True))
    path.write_text(text, encoding="utf-8")
    load_experiment(str(path))
    assert "holdout_percent" not in text and "\n            # split holdout chooses the best epoch" in text


@pytest.mark.parametrize(
    ("trained", "batch", "percent"),
    [(0, 8, 20), (1, 8, 20), (270, 16, 20), (999, 32, 20), (1000, 32, 10), (20_000, 128, 10), (4_000_000, 128, 2)],
)
def test_few_videos_have_small_batches_and_a_large_holdout(trained, batch, percent):
    assert (batch_of(trained), holdout_of(trained)) == (batch, percent)


def test_a_recipe_has_a_line_for_each_entry_and_reads_the_same(tmp_path):
    made_by = json.dumps({"name": 'a "b", \'c\', "d', "file": "é.onnx", "mean": [0.5, 0.25], "fps": 1.0})
    features = [FeatureConfig("rgb\u2028x", 512, "float16", made_by=made_by), FeatureConfig("audio", 3, "float16")]
    path = tmp_path / "own.py"
    text = preset_text("x", "own.py", features, Counts(1, 10, 10, grouped=False, named=True))
    path.write_text(text, encoding="utf-8")
    assert list(load_experiment(str(path)).dataset.features) == features
    assert (
        """
                    made_by='{"name": "a \\\\"b\\\\", \\'c\\', \\\\"d", '
                    '"file": "\\\\u00e9.onnx", '
                    '"mean": [0.5, 0.25], '
                    '"fps": 1.0}',
                ),
                FeatureConfig("audio", 3, dtype="float16"),
            ),
"""
        in text
    )
