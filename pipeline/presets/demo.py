"""A small synthetic dataset shaped like YouTube-8M: the whole pipeline within minutes, on any machine.

./run_all.sh
"""

from pipeline.config import (
    POOLING,
    ClassifierConfig,
    DatasetConfig,
    Experiment,
    FeatureConfig,
    InferenceConfig,
    ModelConfig,
    NetRVLADConfig,
    NetVLADConfig,
    SamplingConfig,
    SynthesisConfig,
    TrainingConfig,
)

MODELS = ("average", "netvlad")


def experiment(model: str) -> Experiment:
    pooling = {"netvlad": NetVLADConfig(clusters=(64, 16)), "netrvlad": NetRVLADConfig(clusters=(64, 16))}
    return Experiment(
        dataset=DatasetConfig(
            name="demo",
            features=(FeatureConfig("rgb", 1024), FeatureConfig("audio", 128)),
            num_classes=256,
            holdout_percent=10,  # 2 % of 3,000 videos would tell nothing
            synthetic=True,
        ),
        synthesis=SynthesisConfig(),
        model=ModelConfig(model, pooling.get(model, POOLING[model]()), ClassifierConfig(hidden=256)),
        sampling=SamplingConfig(frames=48),
        training=TrainingConfig(
            batch_size=64, epochs=8, learning_rate=2e-3, decay="cosine", warmup_examples=1500, ema_half_life=20
        ),
        inference=InferenceConfig(batch_size=128),
    )
