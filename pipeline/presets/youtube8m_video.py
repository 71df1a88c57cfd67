"""YouTube-8M, video level: the mean of each video's frames, 31 GB in all.

    ./run_all.sh --preset youtube8m_video --raw train=GLOB --raw test=GLOB

Ten minutes on two cores for 20,252 videos of 70 shards; the videos of ten other shards score GAP@20 0.682, MAP 0.390.
Nothing has been measured on all 5.6 million videos.
"""

from pipeline.config import (
    POOLING,
    ClassifierConfig,
    DatasetConfig,
    Experiment,
    FeatureConfig,
    ModelConfig,
    TrainingConfig,
)

MODELS = ("average",)


def experiment(model: str) -> Experiment:
    return Experiment(
        dataset=DatasetConfig(
            name="youtube8m_video",
            features=(FeatureConfig("mean_rgb", 1024, "float32"), FeatureConfig("mean_audio", 128, "float32")),
            num_classes=3862,
            level="video",
            train_splits=("train", "validate"),
            holdout_percent=5,
        ),
        model=ModelConfig(
            model,
            POOLING[model](),
            # A video has a single row, so there is nothing to pool: the depth is in the head.
            ClassifierConfig(hidden=0, gating="none", head="logistic", head_hidden=(2048, 2048), head_dropout=0.3),
        ),
        training=TrainingConfig(
            batch_size=128,
            epochs=15,
            learning_rate=1e-3,
            decay="cosine",
            warmup_examples=5000,
            ema_half_life=300,
            mixup=0.4,
        ),
    )
