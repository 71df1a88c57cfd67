"""A preset for thousands of runs: the demo with 32 videos of a few frames."""

import dataclasses

from pipeline.config import (
    ClassifierConfig,
    Experiment,
    FeatureConfig,
    InferenceConfig,
    NetVLADConfig,
    SamplingConfig,
    SynthesisConfig,
)
from pipeline.presets import demo

MODELS = ("average", "netvlad")


def experiment(model: str) -> Experiment:
    whole = demo.experiment(model)
    pooling = NetVLADConfig((4, 2)) if model == "netvlad" else whole.model.pooling
    features = (FeatureConfig("rgb", 8), FeatureConfig("audio", 4))
    return dataclasses.replace(
        whole,
        dataset=dataclasses.replace(whole.dataset, name="small", num_classes=12, features=features, holdout_percent=30),
        synthesis=SynthesisConfig(train_videos=24, test_videos=8, videos_per_shard=8, min_frames=3, max_frames=6),
        model=dataclasses.replace(whole.model, pooling=pooling, classifier=ClassifierConfig(hidden=4)),
        sampling=SamplingConfig(train="random_frames", frames=4),
        training=dataclasses.replace(
            whole.training, batch_size=8, epochs=2, warmup_examples=0, checkpoint_steps=2, ema_half_life=4, snapshots=2
        ),
        inference=InferenceConfig(batch_size=8, top_k=12, videos_per_part=4),
    )
