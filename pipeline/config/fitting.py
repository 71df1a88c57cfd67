"""What spans the sections of an experiment: settings that are right alone and cannot learn together."""

from pipeline.config.errors import ConfigError
from pipeline.config.experiment import Experiment
from pipeline.config.model import ModelConfig

_LEAST_VIDEOS = 2
"""Of a pass under batch norm: what a video has to itself is taken off it, and of one video nothing else is left."""


def check_model_fits_dataset(experiment: Experiment) -> None:
    """Raise ConfigError where a model cannot be built for its dataset, or its training cannot learn.

    An experiment is checked when it is whole: a preset may declare what flags put right.
    """
    _check_pooling(experiment)
    if experiment.training.batch_size < _LEAST_VIDEOS and (parts := _with_batch_norm(experiment.model)):
        raise ConfigError(
            f"training.batch-size must be at least {_LEAST_VIDEOS} videos, not {experiment.training.batch_size}: batch "
            f"norm ({', '.join(parts)}) compares the videos of one pass, and training.accumulate does not join passes"
        )


def _with_batch_norm(model: ModelConfig) -> list[str]:
    """The settings that bring batch norm into a model."""
    classifier = model.classifier
    parts = {
        "classifier.input-batch-norm": classifier.input_batch_norm,
        f"model {model.family}": model.pooling.batch_norm,
        "classifier.descriptor-batch-norm": classifier.descriptor_batch_norm,
        f"classifier.hidden {classifier.hidden}": classifier.hidden > 0,
        f"classifier.gating {classifier.gating}": classifier.gating != "none",
        "classifier.head-hidden": bool(classifier.head_hidden),
        f"classifier.output-gating {classifier.output_gating}": classifier.output_gating != "none",
    }
    return [name for name, there in parts.items() if there]


def _check_pooling(experiment: Experiment) -> None:
    model, features = experiment.model, experiment.dataset.features
    for number, feature in enumerate(features):
        if fault := model.pooling.misfit(feature.size, model.pooling.of_feature(number, len(features))):
            raise ConfigError(f"{model.family} cannot pool feature {feature.name}: {fault}")
