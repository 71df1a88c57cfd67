"""YouTube-8M, frame level, with the settings of the paper: 1.5 TB, and a GPU.

    ./run_all.sh --preset youtube8m

Kmiec, Bae, An 2018 report 0.870 GAP on the public test for gated NetVLAD, about 270,000 steps with batches of 80.
The model has 298 M weights, 1.19 GB in float32: under the challenge's rule of 1 GB it is eligible in half precision.
"""

from pipeline.config import (
    POOLING,
    ClassifierConfig,
    DatasetConfig,
    Experiment,
    FeatureConfig,
    ModelConfig,
    SamplingConfig,
    TrainingConfig,
)

MODELS = ("netvlad",)


def experiment(model: str) -> Experiment:
    return Experiment(
        dataset=DatasetConfig(
            name="youtube8m",
            features=(FeatureConfig("rgb", 1024), FeatureConfig("audio", 128)),
            num_classes=3862,
            train_splits=("train", "validate"),
            holdout_percent=2,
        ),
        model=ModelConfig(model, POOLING[model](), ClassifierConfig(hidden=1024, activation="none", gating="context")),
        sampling=SamplingConfig(train="uniform", evaluation="uniform", frames=256),
        training=TrainingConfig(
            batch_size=80,
            epochs=5,
            learning_rate=2e-4,
            decay="exponential",
            decay_rate=0.85,
            decay_examples=4_000_000,
            checkpoint_steps=2000,
            ema_half_life=2000,
        ),
    )
