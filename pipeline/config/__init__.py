"""The settings of an experiment: frozen dataclasses, one file for each part of the pipeline that is configured."""

from pipeline.config.checked import CheckedFields
from pipeline.config.data import DatasetConfig, FeatureConfig, SynthesisConfig, byte_scale
from pipeline.config.errors import ConfigError, StageError, find_by_name
from pipeline.config.experiment import Experiment, differences, from_dict, to_dict
from pipeline.config.fitting import check_model_fits_dataset
from pipeline.config.model import ClassifierConfig, ModelConfig
from pipeline.config.output import CHALLENGE_PAIRS, EnsembleConfig, InferenceConfig, SubmissionConfig, labels_kept
from pipeline.config.pooling import (
    POOLING,
    AttentionClusterConfig,
    AttentionEnhancedNetVLADConfig,
    AttentionNetVLADConfig,
    AverageConfig,
    DBoFConfig,
    LatentAttentionConfig,
    NetFVConfig,
    NetRVLADConfig,
    NetVLADConfig,
    NeXtVLADConfig,
    PoolingConfig,
    RecurrentConfig,
    SecondOrderConfig,
    SoftDBoFConfig,
)
from pipeline.config.ranges import MOST_CLASSES
from pipeline.config.threshold import ThresholdConfig
from pipeline.config.training import SamplingConfig, TrainingConfig

__all__ = [
    "CHALLENGE_PAIRS",
    "MOST_CLASSES",
    "POOLING",
    "AttentionClusterConfig",
    "AttentionEnhancedNetVLADConfig",
    "AttentionNetVLADConfig",
    "AverageConfig",
    "CheckedFields",
    "ClassifierConfig",
    "ConfigError",
    "DBoFConfig",
    "DatasetConfig",
    "EnsembleConfig",
    "Experiment",
    "FeatureConfig",
    "InferenceConfig",
    "LatentAttentionConfig",
    "ModelConfig",
    "NeXtVLADConfig",
    "NetFVConfig",
    "NetRVLADConfig",
    "NetVLADConfig",
    "PoolingConfig",
    "RecurrentConfig",
    "SamplingConfig",
    "SecondOrderConfig",
    "SoftDBoFConfig",
    "StageError",
    "SubmissionConfig",
    "SynthesisConfig",
    "ThresholdConfig",
    "TrainingConfig",
    "byte_scale",
    "check_model_fits_dataset",
    "differences",
    "find_by_name",
    "from_dict",
    "labels_kept",
    "to_dict",
]
