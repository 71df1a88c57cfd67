"""The classifier around a pooling family, from features to probabilities; it is the same for all families."""

import keras

from pipeline.config import ClassifierConfig, ConfigError, DatasetConfig, ModelConfig
from pipeline.models import FAMILIES
from pipeline.models.layers.dense import DescriptorDense
from pipeline.models.layers.frame_norm import FrameNorm
from pipeline.models.layers.frames import Feature, FrameDropout, FrameMask
from pipeline.models.layers.gating import ContextGating, SqueezeExcite
from pipeline.models.layers.heads import Logistic, MixtureOfExperts, Softmax
from pipeline.models.layers.input_norm import InputNorm
from pipeline.models.naming import layer_names


def build_classifier(model: ModelConfig, dataset: DatasetConfig, precision: str) -> keras.Model:
    """Build the model of `pipeline.models.build_model`, which describes the arguments.

    uint8 frames -> dequantize -> batch norm -> [noise] -> pooling of each feature -> concat -> [batch norm]
      -> [dropout] -> dense H -> batch norm -> [ReLU] -> gating -> head -> [gating] -> probabilities [B,V]
    """
    outer = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        return _build(model, dataset)
    finally:
        keras.config.set_dtype_policy(outer)


def _build(model: ModelConfig, dataset: DatasetConfig) -> keras.Model:
    classifier = model.classifier
    frames = keras.Input((None, dataset.width), dtype=dataset.dtype, name="frames")  # B,T,F
    num_frames = keras.Input((), dtype="int32", name="num_frames")  # B
    mask = FrameMask(name="mask")(frames, num_frames)  # B,T
    pooled_mask = mask
    if classifier.frame_dropout:
        pooled_mask = FrameDropout(classifier.frame_dropout, name="frame_dropout")(mask)
    pooled = []
    start = 0
    names = layer_names([feature.name for feature in dataset.features])
    pooling = model.pooling.fitted([feature.size for feature in dataset.features])
    for number, (feature, name) in enumerate(zip(dataset.features, names)):
        values = Feature(start, feature.size, dataset.quantized, feature.minimum, feature.maximum, name=name)(frames)
        if classifier.input_batch_norm:
            # No shift: a shift of all frames is lost in the next batch norm, or is equal to a shift of the centers.
            scale = FAMILIES[model.family].scale_matters
            norm = FrameNorm if dataset.quantized else InputNorm
            values = norm(center=False, scale=scale, name=f"{name}_norm")(values, mask=mask)
        if classifier.feature_noise:
            values = keras.layers.GaussianNoise(classifier.feature_noise, name=f"{name}_noise")(values)
        settings = pooling.of_feature(number, len(dataset.features))
        try:
            pooled.append(FAMILIES[model.family](**settings, name=f"{name}_pooling")(values, pooled_mask))  # B,D
        except ValueError as error:
            raise ConfigError(f"{model.family} cannot pool feature {feature.name}: {error}") from error
        start += feature.size
    descriptor = keras.layers.Concatenate(name="descriptor")(pooled) if len(pooled) > 1 else pooled[0]
    if classifier.descriptor_batch_norm:
        # No shift: it would be lost in the next batch norm, or in the softmax over the experts.
        descriptor = keras.layers.BatchNormalization(center=False, name="descriptor_norm")(descriptor)
    if classifier.dropout:
        descriptor = keras.layers.Dropout(classifier.dropout, name="descriptor_dropout")(descriptor)
    if classifier.hidden:
        descriptor = _dense(descriptor, classifier.hidden, classifier.activation, "hidden")  # B,H
    descriptor = _gate(descriptor, classifier.gating, "gating")
    for number, size in enumerate(classifier.head_hidden):
        descriptor = _dense(descriptor, size, "relu", f"head_hidden_{number}")
        if classifier.head_dropout:
            descriptor = keras.layers.Dropout(classifier.head_dropout, name=f"head_dropout_{number}")(descriptor)
    probabilities = _head(classifier, dataset.num_classes)(descriptor)  # B,V
    if classifier.output_gating == "context":
        probabilities = ContextGating(dtype="float32", name="output_gating")(probabilities)
    inputs = {"frames": frames, "num_frames": num_frames}
    return keras.Model(inputs, probabilities, name=model.family)


def _dense(values, size: int, activation: str, name: str):
    values = DescriptorDense(size, use_bias=False, name=name)(values)  # the shift of the batch norm is the bias
    values = keras.layers.BatchNormalization(name=f"{name}_norm")(values)
    return keras.layers.ReLU(name=f"{name}_relu")(values) if activation == "relu" else values


def _gate(values, gating: str, name: str):
    if gating == "context":
        return ContextGating(name=name)(values)
    if gating == "squeeze_excite":
        return SqueezeExcite(name=name)(values)
    return values


def _head(classifier: ClassifierConfig, num_classes: int) -> keras.layers.Layer:
    if classifier.head == "moe":
        return MixtureOfExperts(num_classes, classifier.experts, classifier.head_l2, name="head")
    linear = Softmax if classifier.head == "softmax" else Logistic
    return linear(num_classes, classifier.head_l2, name="head")
