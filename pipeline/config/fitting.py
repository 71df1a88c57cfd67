"""Checks across the sections of an experiment: settings that are each valid but do not work together."""

from pipeline.config.errors import ConfigError
from pipeline.config.experiment import Experiment
from pipeline.config.model import ModelConfig
from pipeline.config.monitor import why_not
from pipeline.config.output import labels_kept

_LEAST_VIDEOS = 2
"""Smallest batch with batch norm, which subtracts the batch's mean: of a single video nothing would be left."""


def check_model_fits_dataset(experiment: Experiment) -> None:
    """Raise ConfigError if the model cannot be built for its dataset, or its training could not learn anything.

    Call it when the experiment is complete: flags may correct what the preset declares.
    """
    _check_pooling(experiment)
    _check_head(experiment)
    classes, monitor = experiment.dataset.num_classes, experiment.training.monitor
    if fault := why_not(monitor, experiment.dataset.task, labels_kept(experiment.inference.top_k, classes), classes):
        raise ConfigError(f"training.monitor: {fault}")
    if experiment.training.batch_size < _LEAST_VIDEOS and (parts := _with_batch_norm(experiment.model)):
        raise ConfigError(
            f"training.batch-size must be at least {_LEAST_VIDEOS} videos, not {experiment.training.batch_size}: batch "
            f"norm ({', '.join(parts)}) compares the videos of one pass, and training.accumulate does not join passes"
        )


def _check_head(experiment: Experiment) -> None:
    classifier = experiment.model.classifier
    if classifier.head != "softmax":
        return
    if experiment.dataset.task != "single_label":
        raise ConfigError(
            "classifier.head softmax gives each video one class, and a dataset of task multi_label may give it several "
            "or none: set classifier.head moe or logistic, or, if every video has exactly one label, dataset.task "
            "single_label"
        )
    if experiment.dataset.num_classes < 2:
        raise ConfigError(
            "classifier.head softmax chooses one of several classes, and dataset.num-classes is 1: set classifier.head "
            "moe or logistic"
        )
    if classifier.output_gating != "none":
        raise ConfigError(
            f"classifier.output-gating {classifier.output_gating} would change probabilities that sum to 1, as those "
            "of classifier.head softmax do: set classifier.output-gating none"
        )


def _with_batch_norm(model: ModelConfig) -> list[str]:
    """List the settings that put batch norm into a model."""
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
