"""YouTube-8M, frame level, every family with the settings of its paper: needs 1.5 TB of disk and a GPU.

    ./run_all.sh --preset youtube8m [--models netvlad,nextvlad,...]

Published, not measured here: 0.870 GAP on the public test for gated NetVLAD (Kmiec, Bae, An 2018), after about 270,000
steps with batches of 80. How long they take on a GPU has not been measured.
The model has 298 M weights, 1.19 GB in float32. The challenge allows 1 GB: in half precision the model is eligible.
Sources: that paper and its authors' commands; for netrvlad, netfv, soft_dbof and recurrent Miech, Laptev, Sivic 2017;
for nextvlad Lin, Xiao, Fan 2018; for dbof and average the challenge's starter code. latent_attention is as the paper's.
"""

from dataclasses import replace

from pipeline.config import POOLING, ClassifierConfig, DatasetConfig, Experiment, FeatureConfig, ModelConfig
from pipeline.config import SamplingConfig as Sampling
from pipeline.config import TrainingConfig as Training

MODELS = ("netvlad",)
_LINEAR = ClassifierConfig(hidden=1024, activation="none")
_GATED = replace(_LINEAR, output_gating="context")
_NEXT = replace(_LINEAR, hidden=2048, gating="squeeze_excite", head="logistic", head_l2=1e-5)
_BARE = ClassifierConfig(hidden=0, gating="none")
_NETVLAD = Training(80, epochs=5, learning_rate=2e-4, ema_half_life=2000, checkpoint_steps=2000, precision="auto")
_WILLOW = replace(_NETVLAD, decay_rate=0.8, epochs=10)
_ATTENTION = replace(_NETVLAD, batch_size=64, learning_rate=3e-4, epochs=3.5)  # 270,000 steps
_STARTER = replace(_NETVLAD, batch_size=1024, learning_rate=0.01, decay_rate=0.95)
_RANDOM = Sampling(train="random_frames", frames=300)
_PUBLISHED: dict[str, tuple[ClassifierConfig, Sampling, Training]] = {
    "average": (_BARE, Sampling("all", "all"), _STARTER),
    "dbof": (ClassifierConfig(gating="none"), replace(_RANDOM, frames=30), _STARTER),
    "soft_dbof": (replace(_LINEAR, gating="none"), _RANDOM, replace(_WILLOW, decay_rate=0.95, epochs=13)),
    "netvlad": (_LINEAR, Sampling(), _NETVLAD),
    "netrvlad": (_GATED, _RANDOM, _WILLOW),
    "netfv": (_GATED, _RANDOM, _WILLOW),
    "nextvlad": (_NEXT, Sampling("all", "all"), replace(_WILLOW, accumulate=2, decay_examples=2_000_000)),
    "recurrent": (_BARE, Sampling("random_sequence", frames=150), replace(_WILLOW, batch_size=128, decay_rate=0.95)),
    "second_order": (ClassifierConfig(), Sampling(), replace(_ATTENTION, batch_size=32)),
}
_OTHERS = (ClassifierConfig(hidden=512), Sampling(), _ATTENTION)


def experiment(model: str) -> Experiment:
    classifier, sampling, training = _PUBLISHED.get(model, _OTHERS)
    dataset = DatasetConfig(
        name="youtube8m",
        features=(FeatureConfig("rgb", 1024), FeatureConfig("audio", 128)),
        num_classes=3862,
        train_splits=("train", "validate"),
        holdout_percent=2,
    )
    return Experiment(dataset, ModelConfig(model, POOLING[model](), classifier), sampling, training)
