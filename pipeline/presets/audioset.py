"""AudioSet's balanced training clips: real frame features, small enough for two processors.

    ./run_all.sh --preset audioset --raw train=DIR --raw eval=DIR

Two minutes on two cores. GAP@20 on the eval clips: netvlad 0.41, average 0.39.
Each family has the settings that are best for it on the hold-out: python -m benchmarks.audioset tries all TRIALS.
"""

from dataclasses import replace

from pipeline import config
from pipeline.config import ClassifierConfig, Experiment, ModelConfig, PoolingConfig, TrainingConfig

MODELS = ("average", "netvlad")
_TRAINING = TrainingConfig(
    batch_size=128,
    epochs=16,
    learning_rate=1e-3,
    decay="cosine",
    warmup_examples=5000,
    ema_half_life=300,
    mixup=1.0,
    precision="auto",
)
_LAYERS = ClassifierConfig(hidden=0, gating="none", head="logistic", head_hidden=(1024,), head_dropout=0.5)
TRIALS = {
    "experts": (ClassifierConfig(hidden=512), replace(_TRAINING, mixup=0.4, epochs=10)),
    "one-layer": (_LAYERS, _TRAINING),
}
CHOSEN = dict.fromkeys(("dbof", "attention_enhanced_netvlad"), "one-layer")  # all others: experts
_POOLING: dict[str, PoolingConfig] = {
    "dbof": config.DBoFConfig((2048,)),
    "soft_dbof": config.SoftDBoFConfig((1024,)),
    "netvlad": config.NetVLADConfig((64,)),
    "netrvlad": config.NetRVLADConfig((64,)),
    "netfv": config.NetFVConfig((32,)),
    "nextvlad": config.NeXtVLADConfig((128,), groups=(4,)),
    "attention_cluster": config.AttentionClusterConfig((64,), hidden=(128,)),
    "attention_enhanced_netvlad": config.AttentionEnhancedNetVLADConfig((64,), heads=(8,)),
    "attention_netvlad": config.AttentionNetVLADConfig((64,), heads=(8,)),
    "second_order": config.SecondOrderConfig((16,), projection=(32,)),
    "recurrent": config.RecurrentConfig(units=(512,)),
    "latent_attention": config.LatentAttentionConfig((16,), heads=(8,), blocks=0),
}


def experiment(model: str, trial: str | None = None) -> Experiment:
    classifier, training = TRIALS[trial or CHOSEN.get(model, "experts")]
    return Experiment(
        dataset=config.DatasetConfig(
            name="audioset",
            features=(config.FeatureConfig("audio", 128, source="audio_embedding"),),
            num_classes=527,
            max_frames=10,
            holdout_percent=10,  # 2 % of 22,160 clips would leave GAP a standard deviation of 0.016
        ),
        model=ModelConfig(model, _POOLING.get(model, config.POOLING[model]()), classifier),
        sampling=config.SamplingConfig(train="all", evaluation="all"),
        training=training,
    )
