"""Settings that are right alone and do not fit: refused exactly where the model could not be built, or not learn."""

import dataclasses

import keras
import pytest
import tensorflow as tf

from pipeline.config import (
    POOLING,
    AverageConfig,
    ClassifierConfig,
    ConfigError,
    DatasetConfig,
    Experiment,
    FeatureConfig,
    ModelConfig,
    NeXtVLADConfig,
    RecurrentConfig,
    TrainingConfig,
    check_model_fits_dataset,
)
from pipeline.models import build_model

DATASET = DatasetConfig("d", (FeatureConfig("rgb", 12), FeatureConfig("audio", 8)), 5)
BARE = ClassifierConfig(input_batch_norm=False, hidden=0, gating="none")
SOFTMAX = dataclasses.replace(BARE, head="softmax")


def pooling_of(family: str, **settings):
    """Of few weights; the settings that a family does not have are left out."""
    small = {
        "clusters": (2,),
        "projection": (2,),
        "hidden": (2,),
        "units": (2,),
        "latents": (2,),
        "blocks": 1,
        "heads": (2,),
    }
    names = {field.name for field in dataclasses.fields(POOLING[family])}
    settings = {**small, "groups": (2,), **settings}
    return POOLING[family](**{name: value for name, value in settings.items() if name in names})


def experiment(
    pooling_family: str, classifier: ClassifierConfig = BARE, batch_size: int = 64, **settings
) -> Experiment:
    model = ModelConfig(pooling_family, pooling_of(pooling_family, **settings), classifier)
    return Experiment(DATASET, model, training=TrainingConfig(batch_size=batch_size))


def refuses(check, *arguments) -> str:
    try:
        check(*arguments)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("family", ["nextvlad", "attention_enhanced_netvlad", "attention_netvlad", "latent_attention"])
def test_what_cannot_be_built_is_refused_and_nothing_else(family):
    name = "groups" if family == "nextvlad" else "heads"
    for values in [(1,), (4,), (3,), (12,), (24,), (5,), (12, 8), (8, 12), (3, 2), (2, 2, 2)]:
        whole = experiment(family, **{name: values})
        assert refuses(check_model_fits_dataset, whole) == refuses(build_model, whole.model, DATASET), values


@pytest.mark.parametrize("family", POOLING)
def test_a_tuple_has_one_value_or_one_a_feature(family):
    names = [name for name, value in vars(POOLING[family]()).items() if isinstance(value, tuple)]
    for name in names:
        check_model_fits_dataset(experiment(family, **{name: (2, 2)}))
        with pytest.raises(
            ConfigError, match=f"pooling.{name} has 3 values for 2 features: give one value, or one each"
        ):
            check_model_fits_dataset(experiment(family, **{name: (2, 2, 2)}))


def test_the_message_names_the_feature():
    whole = dataclasses.replace(
        experiment("average"), model=ModelConfig("nextvlad", NeXtVLADConfig((2,), (3, 7)), BARE)
    )
    message = "nextvlad cannot pool feature audio: 7 groups do not divide a frame of 16 values .8 expanded 2 times"
    with pytest.raises(ConfigError, match=message):
        check_model_fits_dataset(whole)


CLASSIFIERS = [
    BARE,
    *(
        dataclasses.replace(BARE, **change)
        for change in (
            {"input_batch_norm": True},
            {"descriptor_batch_norm": True},
            {"hidden": 4},
            {"gating": "context"},
            {"gating": "squeeze_excite"},
            {"head_hidden": (4,)},
            {"output_gating": "context"},
            {"dropout": 0.5, "frame_dropout": 0.5, "feature_noise": 1.0, "head": "logistic"},
        )
    ),
]


def has_batch_norm(model: keras.Model) -> bool:
    return any(isinstance(layer, keras.layers.BatchNormalization) for layer in model._flatten_layers())


@pytest.mark.parametrize(
    ("family", "classifier"), [*(("average", each) for each in CLASSIFIERS), *((family, BARE) for family in POOLING)]
)
def test_batches_of_one_are_refused_wherever_a_model_has_batch_norm(family, classifier):
    whole = experiment(family, classifier, batch_size=1)
    assert bool(refuses(check_model_fits_dataset, whole)) == has_batch_norm(build_model(whole.model, DATASET))
    check_model_fits_dataset(experiment(family, classifier, batch_size=2))


def test_softmax_is_for_videos_of_one_class():
    softmax = dataclasses.replace(experiment("average"), model=ModelConfig("average", AverageConfig(), SOFTMAX))
    with pytest.raises(ConfigError, match=r"head softmax .*: set classifier.head moe or logistic, or, .*single_label"):
        check_model_fits_dataset(softmax)
    single = dataclasses.replace(DATASET, task="single_label")
    check_model_fits_dataset(dataclasses.replace(softmax, dataset=single))
    for head in ("moe", "logistic"):
        other = ModelConfig("average", AverageConfig(), dataclasses.replace(BARE, head=head))
        check_model_fits_dataset(dataclasses.replace(softmax, dataset=single, model=other))
    with pytest.raises(ConfigError, match="output-gating context would change probabilities that sum to 1"):
        gated = dataclasses.replace(SOFTMAX, output_gating="context")
        model = ModelConfig("average", AverageConfig(), gated)
        check_model_fits_dataset(dataclasses.replace(softmax, dataset=single, model=model))
    one = dataclasses.replace(softmax, dataset=dataclasses.replace(single, num_classes=1))
    with pytest.raises(ConfigError, match=r"softmax chooses one of several classes, and dataset.num-classes is 1"):
        check_model_fits_dataset(one)


def test_accumulation_does_not_mend_batches_of_one():
    training = TrainingConfig(batch_size=1, accumulate=32)
    whole = Experiment(DATASET, ModelConfig("average", AverageConfig(), ClassifierConfig(hidden=8)), training=training)
    with pytest.raises(ConfigError, match=r"batch-size must be at least 2 videos, not 1: .*classifier.hidden 8"):
        check_model_fits_dataset(whole)
    check_model_fits_dataset(
        dataclasses.replace(whole, model=ModelConfig("recurrent", RecurrentConfig(units=(2,)), BARE))
    )


@pytest.mark.parametrize("family", POOLING)
def test_defaults_fit_any_features(family):
    """Of YouTube-8M's features they are what its preset says, and heads and groups divide whatever they must."""
    for sizes in [(1,), (7,), (24,), (1000,), (1, 7), (24, 1000), (1000, 1, 24)]:
        features = tuple(FeatureConfig(f"f{number}", size) for number, size in enumerate(sizes))
        dataset = dataclasses.replace(DATASET, features=features)
        model = ModelConfig(family, POOLING[family](), BARE)
        whole = Experiment(dataset, model)
        check_model_fits_dataset(whole)
        assert () not in vars(whole.model.pooling).values()
        assert Experiment(dataset, whole.model) == whole
        if max(sizes) < 10:
            with tf.Graph().as_default():  # where weights are drawn when they are asked for
                assert build_model(model, dataset).output_shape == (None, 5)


def test_the_defaults_of_two_features_are_those_of_youtube8m():
    dataset = dataclasses.replace(DATASET, features=(FeatureConfig("rgb", 1024), FeatureConfig("audio", 128)))

    def fitted(family: str, dataset: DatasetConfig = dataset, **settings):
        return vars(Experiment(dataset, ModelConfig(family, POOLING[family](**settings))).model.pooling)

    assert fitted("nextvlad") == {"clusters": (128, 64), "groups": (8, 4), "expansion": 2, "dropout": 0.5}
    assert fitted("attention_netvlad")["heads"] == (64, 8)
    assert fitted("latent_attention") | {"dropout": 0} == {
        "latents": (64,),
        "heads": (16, 2),
        "blocks": 2,
        "dropout": 0,
    }
    assert fitted("recurrent", units=(3,))["units"] == (3,)
    assert fitted("attention_netvlad", DATASET) | {"dropout": 0} == {
        "clusters": (256, 64),
        "heads": (4, 8),
        "encoders": 2,
        "dropout": 0,
    }
    assert fitted("nextvlad", DATASET, expansion=1)["groups"] == (4, 4)


def test_what_is_declared_is_never_fitted():
    one = dataclasses.replace(DATASET, features=(FeatureConfig("rgb", 12),))
    with pytest.raises(ConfigError, match=r"pooling\.clusters has 2 values for 1 features"):
        check_model_fits_dataset(Experiment(one, ModelConfig("netvlad", POOLING["netvlad"]((256, 64)))))
    with pytest.raises(ConfigError, match="64 heads do not divide a row of 12 values"):
        check_model_fits_dataset(
            Experiment(one, ModelConfig("attention_netvlad", POOLING["attention_netvlad"](heads=(64,))))
        )
