"""The contract of every pooling family in the registry, on the model around it."""

import dataclasses
import functools
import math
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from fixtures.support import OTHER_BACKENDS, ROOT, on_backend

from pipeline.config import POOLING, ClassifierConfig, ConfigError, DatasetConfig, FeatureConfig, ModelConfig
from pipeline.inference.frame_weights import frame_weights
from pipeline.inference.windows.models import WindowModel
from pipeline.models import FAMILIES, build_model, load_model

DATASET = DatasetConfig("contract", (FeatureConfig("rgb", 24), FeatureConfig("audio", 8)), num_classes=11)
RGB = dataclasses.replace(DATASET, features=DATASET.features[:1])
"""Half of a model's graph, where the features are not looked at together; of average, which is small, there are two."""
SETTINGS = {
    "clusters": (4, 2),
    "groups": (4, 2),
    "heads": (4, 2),
    "hidden": (6, 3),
    "latents": (3, 2),
    "projection": (5, 3),
    "units": (6, 3),
}
"""Small values of settings, taken by the families that have them."""
ORDERED = {"recurrent"}
"""Families that promise nothing under a permutation of the frames."""
SILENT = {"recurrent"}
"""Families that do not say how much a frame counts."""
SIGNED = {"attention_netvlad"}
"""Families whose frames may count less than nothing."""
WEIGHED = {"dbof", "nextvlad", "latent_attention"}
"""Families that compute the weights of frames; the others hand on what they pool with."""
SEEING = {"recurrent", "attention_enhanced_netvlad", "attention_netvlad", "latent_attention"}
"""Families whose frames see each other before they are pooled."""
FRAMES, VIDEOS = 9, 6

every_family = pytest.mark.parametrize("family", FAMILIES, scope="module")
"""Family by family: one process has all tests of one, and builds its models once."""
FULL = {"gating": "squeeze_excite", "output_gating": "context", "head_hidden": (12,)}
"""Every kind of layer around the pooling."""
MOST_STEPS = 240
"""In which a model is to learn one batch by heart. How many it takes differs: each kind of processor rounds its way."""


def small(family: str) -> DatasetConfig:
    return DATASET if family == "average" else RGB


def config(family: str, dataset: DatasetConfig = DATASET, **classifier) -> ModelConfig:
    settings = POOLING[family]
    known = {field.name for field in dataclasses.fields(settings)}
    features = len(dataset.features)
    pooling = settings(**{name: value[:features] for name, value in SETTINGS.items() if name in known})
    return ModelConfig(family, pooling, ClassifierConfig(**{"hidden": 16, **classifier}))


def build(family: str, precision: str = "float32", dataset: DatasetConfig = DATASET, **classifier) -> keras.Model:
    """A model whose every weight, batch norm's statistics included, differs from its initial value.

    What was built before is handed out again, with every variable as it was.
    """
    model, values = _built(family, precision, dataset, *classifier.items())
    for variable, value in zip(model.variables, values, strict=True):
        variable.assign(value)
    return model


@functools.cache
def _built(
    family: str, precision: str, dataset: DatasetConfig, *classifier: tuple
) -> tuple[keras.Model, list[np.ndarray]]:
    keras.utils.set_random_seed(1)
    model = build_model(config(family, dataset, **dict(classifier)), dataset, precision)
    rng = np.random.default_rng(2)
    for weight in model.weights:
        value = weight.numpy() + rng.normal(0, 0.1, weight.shape)
        weight.assign(np.abs(value) + 0.1 if "variance" in weight.path else value)
    return model, [variable.numpy().copy() for variable in model.variables]


def videos(dataset: DatasetConfig = DATASET) -> dict[str, np.ndarray]:
    frames = np.random.default_rng(3).integers(0, 256, (VIDEOS, FRAMES, DATASET.width), dtype=np.uint8)
    return {"frames": frames[:, :, : dataset.width], "num_frames": np.array([FRAMES, 1, 5, 8, 2, 7], np.int32)}


def labels(seed: int = 4) -> np.ndarray:
    return (np.random.default_rng(seed).random((VIDEOS, DATASET.num_classes)) < 0.3).astype(np.float32)


def call(model: keras.Model, inputs: dict[str, np.ndarray], training: bool = False) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(inputs, training=training))


@functools.cache
def probabilities_of(family: str) -> np.ndarray:
    """Of the videos, by the model."""
    return call(build(family), videos())


def test_the_registry_and_the_settings_name_the_same_families():
    assert set(FAMILIES) == set(POOLING)


def test_an_unknown_family_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"netvald.*Did you mean netvlad\?.*average"):
        FAMILIES["netvald"]


def test_settings_need_one_value_or_one_a_feature():
    model = ModelConfig("netvlad", POOLING["netvlad"](clusters=(4, 2, 1)))
    with pytest.raises(ConfigError, match=r"clusters has 3 values for 2 features"):
        build_model(model, DATASET)


@every_family
def test_settings_are_the_arguments_of_the_layer(family):
    layer = FAMILIES[family](**{name: value[0] for name, value in SETTINGS.items() if hasattr(POOLING[family](), name)})
    settings = layer.get_config()
    assert {field.name for field in dataclasses.fields(POOLING[family])} <= settings.keys()
    assert FAMILIES[family].from_config(settings).get_config() == settings


@every_family
def test_probabilities(family):
    model = build(family)
    probabilities = model.predict_on_batch(videos())
    np.testing.assert_allclose(probabilities_of(family), probabilities, rtol=2e-5, atol=1e-6)
    assert probabilities.shape == (VIDEOS, DATASET.num_classes)
    assert probabilities.dtype == np.float32
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert probabilities.std(axis=0).min() > 0, "every class depends on the video"


@every_family
@pytest.mark.parametrize("training", [False, True])
def test_padding_changes_nothing(family, training):
    inputs = videos()
    expected = call(build(family), inputs, True) if training else probabilities_of(family)
    garbage = np.random.default_rng(5).integers(0, 256, inputs["frames"].shape, dtype=np.uint8)
    padding = np.arange(FRAMES) >= inputs["num_frames"][:, None]
    inputs["frames"][padding] = garbage[padding]
    longer = {"frames": np.concatenate([inputs["frames"], garbage[:, :4]], 1), "num_frames": inputs["num_frames"]}
    model = build(family)  # training moves batch norm's statistics
    np.testing.assert_allclose(call(model, longer, training), expected, rtol=2e-5, atol=1e-6)


@every_family
def test_training_statistics_ignore_padding(family):
    """After a training step on padded videos, batch norm's statistics are those of the valid frames alone."""
    inputs = videos()
    padding = np.arange(FRAMES) >= inputs["num_frames"][:, None]
    statistics = []
    for value in (0, 255):
        inputs["frames"][padding] = value
        model = build(family)
        call(model, inputs, training=True)
        statistics.append({weight.path: weight.numpy().copy() for weight in model.weights if "moving" in weight.path})
    for path, value in statistics[0].items():
        np.testing.assert_allclose(statistics[1][path], value, rtol=1e-4, atol=1e-6, err_msg=path)


@every_family
def test_a_video_is_predicted_alike_in_every_batch(family):
    together, model, inputs = probabilities_of(family), build(family), videos()
    for row in range(VIDEOS):
        alone = call(model, {name: value[row : row + 1] for name, value in inputs.items()})
        np.testing.assert_allclose(alone[0], together[row], rtol=2e-5, atol=1e-6)


@every_family
def test_the_order_of_frames_does_not_matter(family):
    if family in ORDERED:
        pytest.skip("this family promises nothing about the order")
    expected, model, inputs = probabilities_of(family), build(family), videos()
    rng = np.random.default_rng(6)
    for row, count in enumerate(inputs["num_frames"]):
        inputs["frames"][row, :count] = inputs["frames"][row, rng.permutation(count)]
    np.testing.assert_allclose(call(model, inputs), expected, rtol=2e-5, atol=1e-6)


@every_family
def test_frames_have_weights(family):
    """Of each feature; 0 on padding and on nothing else for all clusters, whatever the padding, batch and order."""
    model, inputs = build(family), videos()
    weights = frame_weights(model, inputs)
    assert set(weights) == (set() if family in SILENT else {"rgb", "audio"})
    rng = np.random.default_rng(6)
    garbage = rng.integers(0, 256, (VIDEOS, FRAMES + 4, DATASET.width), dtype=np.uint8)
    orders = [rng.permutation(count) for count in inputs["num_frames"]]
    for row, order in enumerate(orders):
        garbage[row, : len(order)] = inputs["frames"][row, order]
    alone = frame_weights(model, {name: value[2:3] for name, value in inputs.items()})
    moved = frame_weights(model, {**inputs, "frames": garbage})
    for feature, found in weights.items():
        assert found.shape[:2] == (VIDEOS, FRAMES) and found.dtype == np.float32
        assert np.isfinite(found).all() and (family in SIGNED or (found >= 0).all())
        for row, order in enumerate(orders):
            assert (found[row, len(order) :] == 0).all() and (moved[feature][row, len(order) :] == 0).all()
            assert found[row, : len(order)].any()
            np.testing.assert_allclose(moved[feature][row, : len(order)], found[row, order], rtol=2e-4, atol=1e-6)
        np.testing.assert_allclose(alone[feature][0], found[2], rtol=2e-4, atol=1e-6)


@pytest.mark.wide
@every_family
def test_windows_are_scored_as_videos_of_their_own(family, monkeypatch):
    """Also where the model sees a frame several times, or not all of them; in windows that share frames."""
    model, dataset = build(family), DATASET
    frames = np.random.default_rng(7).integers(0, 256, (23, dataset.width), dtype=np.uint8)
    scorer, starts = WindowModel(model, 4), np.array([0, 2, 5, 7, 11, 16])
    for each in (model, *(scorer.halves or ())):
        monkeypatch.setattr(each, "predict_on_batch", functools.partial(each, training=False))  # nothing is compiled
    assert (scorer.halves is None) == (family in SEEING)
    for chosen in ([0, 1, 2, 3, 4, 5, 6], [0, 0, 0, 1, 1, 2, 2, 2, 3], [0, 2, 5], [3, 4]):
        shown = frames[starts[:, None] + np.array(chosen)]
        padded = np.concatenate([shown, np.full((len(starts), 2, dataset.width), 99, np.uint8)], axis=1)
        alone = {"frames": padded, "num_frames": np.full(len(starts), len(chosen), np.int32)}
        found = scorer.probabilities(frames, starts, np.array(chosen))
        np.testing.assert_allclose(found, call(model, alone), atol=1e-5)
        assert np.ptp(found, axis=0).min() > 1e-3


@pytest.mark.wide
@every_family
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_saved_and_loaded_it_is_the_same(family, precision, tmp_path):
    dataset = small(family)
    model, inputs = build(family, precision, dataset, **FULL), videos(dataset)
    model.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(call(again, inputs), call(model, inputs))
    assert [type(layer) for layer in again.layers] == [type(layer) for layer in model.layers]
    assert [weight.path for weight in again.weights] == [weight.path for weight in model.weights]


@pytest.mark.parametrize(
    ("family", "head"), [*((family, "moe") for family in FAMILIES), ("average", "logistic")], scope="module"
)
def test_gradients_reach_every_weight_and_it_overfits_one_batch(family, head, monkeypatch):
    """Adam's steps are taken here, on all weights as one vector: in a graph they are half of what is traced."""
    import tensorflow as tf

    from pipeline.metrics import global_average_precision
    from pipeline.training.loss import SummedBinaryCrossentropy

    dataset = DATASET if family == "latent_attention" else small(family)  # of one feature it takes more steps
    model = build(family, "float32", dataset, **FULL, **({} if head == "moe" else {"head": head}))
    for layer in model._flatten_layers():
        if hasattr(layer, "momentum"):
            monkeypatch.setattr(layer, "momentum", 0.8)  # or batch norm's statistics remember the beginning for long
    weights = [weight.value for weight in model.trainable_weights]
    inputs = {name: tf.constant(value) for name, value in videos(dataset).items()}
    wanted = tf.constant(labels())

    @tf.function(autograph=False)
    def gradients():
        with tf.GradientTape() as tape:
            loss = SummedBinaryCrossentropy()(wanted, model(inputs, training=True))
        found = tape.gradient(loss, weights)
        for weight, gradient in zip(model.trainable_weights, found, strict=True):
            assert gradient is not None, weight.path
        return tf.concat([tf.reshape(gradient, [-1]) for gradient in found], 0)

    ends = np.cumsum([math.prod(weight.shape) for weight in weights])[:-1]
    values = np.concatenate([weight.numpy().ravel() for weight in weights])
    mean, square = np.zeros_like(values), np.zeros_like(values)
    for step in range(1, MOST_STEPS + 1):
        gradient = gradients().numpy()
        if step == 1:
            for weight, part in zip(model.trainable_weights, np.split(gradient, ends), strict=True):
                # Rounding leaves about 1e-8 where the mathematics says 0.
                assert np.abs(part).max() > 1e-6, weight.path
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        values -= 0.02 * mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-7)
        for weight, value in zip(weights, np.split(values, ends)):
            weight.assign(value.reshape(weight.shape))
        if step % 30 == 0 and (score := global_average_precision(call(model, inputs), labels())) > 0.99:
            break
    assert score > 0.99


@every_family
def test_bfloat16_is_near_float32(family):
    dataset = small(family)
    half, full = (build(family, precision, dataset, **FULL) for precision in ("mixed_bfloat16", "float32"))
    half.set_weights(full.get_weights())
    inputs = videos(dataset)
    assert all(weight.dtype == "float32" for weight in half.weights)
    difference = np.abs(call(half, inputs) - call(full, inputs))
    assert 0 < difference.max() < 0.03
    expected = frame_weights(full, inputs)
    for feature, found in frame_weights(half, inputs).items():
        # One unit of a bag of frames may find another frame the highest.
        assert np.mean(np.abs(found - expected[feature])) < 0.03 * np.abs(expected[feature]).max()


@pytest.mark.wide
@pytest.mark.first
@pytest.mark.parametrize("backend", OTHER_BACKENDS)
def test_another_backend_agrees_with_tensorflow(backend, tmp_path):
    """A stored model gives the same float32 probabilities on both, and frames count as much; trained there too."""
    here = {}
    for family in FAMILIES:
        model = build(family, "float32", small(family))
        model.save(tmp_path / f"{family}.keras")
        here |= outputs(family, model)
    subprocess.run([sys.executable, __file__, tmp_path], check=True, cwd=ROOT, env=on_backend(backend))
    with np.load(tmp_path / "outputs.npz") as there:
        trained = [f"{family}-trained/probabilities" for family in TRAINED]
        assert set(there) == {*here, *trained}
        for name, expected in here.items():
            np.testing.assert_allclose(there[name], expected, rtol=1e-4, atol=1e-6, err_msg=name)
        for family, name in zip(TRAINED, trained):
            again = load_model(tmp_path / f"{family}-trained.keras").predict_on_batch(videos(small(family)))
            np.testing.assert_allclose(again, there[name], rtol=1e-4, atol=1e-6, err_msg=name)
            assert np.abs(again - here[f"{family}/probabilities"]).max() > 1e-3, "training has changed it"


def outputs(family: str, model: keras.Model) -> dict[str, np.ndarray]:
    inputs = videos(small(family))
    weights = frame_weights(model, inputs) if family in WEIGHED else {}
    found = {"probabilities": model.predict_on_batch(inputs), **weights}
    return {f"{family}/{name}": value for name, value in found.items()}


TRAINED = ("average", "netvlad", "nextvlad")
"""Families that the other backends train."""


def _predict_with_stored_models(folder: Path) -> None:
    """On another backend: predict with the models in the folder; train some, store them, and predict with them."""
    from pipeline.training.loss import SummedBinaryCrossentropy
    from pipeline.training.penalized import PenalizedModel

    if keras.backend.backend() == "jax":
        import jax

        # Each draw of initial weights, which are overwritten, would be compiled for its shape.
        jax.random.uniform = jax.random.normal = lambda key, shape, dtype, *_, **__: np.zeros(shape, dtype)
    found = {}
    for family in FAMILIES:
        model = load_model(folder / f"{family}.keras")
        found |= outputs(family, model)
        if family in TRAINED:
            trained, jit_compile = PenalizedModel(model), keras.backend.backend() == "jax"
            trained.compile(keras.optimizers.SGD(0.1), SummedBinaryCrossentropy(), jit_compile=jit_compile)
            trained.fit(videos(small(family)), labels(), verbose=0)
            model.save(folder / f"{family}-trained.keras")
            found[f"{family}-trained/probabilities"] = model.predict_on_batch(videos(small(family)))
    np.savez(folder / "outputs.npz", **found)


if __name__ == "__main__":
    _predict_with_stored_models(Path(sys.argv[1]))


@every_family
def test_frames_are_scaled_where_that_matters_alone(family):
    names = {weight.path for weight in build(family).trainable_weights}
    assert ("rgb_norm/gamma" in names) == FAMILIES[family].scale_matters
