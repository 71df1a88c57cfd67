"""Run a network of Keras Applications as a backbone: keras:NAME, with the weights that Keras publishes."""

import hashlib
import inspect
from typing import Any

import numpy as np

from pipeline.config.errors import StageError
from pipeline.features.backbone import Backbone
from pipeline.runtime import backend

_BATCH = 32


def keras_backbone(name: str) -> Backbone:
    """Return the backbone of a network, with the size that its weights were trained on.

    Raises StageError if there is no network of this name, or its weights cannot be had.
    """
    model = _load(name)
    _, height, width, _ = model.input_shape
    return Backbone(
        name=name,
        file=f"keras:{name}",
        sha256=_digest(model),
        height=height,
        width=width,
        layout="nhwc",
    )


class KerasBackbone:
    """A network without its head, averaged over all positions; pictures are preprocessed as its module says."""

    def __init__(self, backbone: Backbone):
        name = backbone.file.partition(":")[2]
        self._model = _load(name)
        if (found := _digest(self._model)) != backbone.sha256:
            raise StageError(
                f"the weights of {backbone.file} have the checksum {found}, and must have {backbone.sha256}: Keras "
                "publishes other ones now. Use the version of Keras that the features were made with"
            )
        self._preprocess = _module(name).preprocess_input
        self.batch, self.at_once = _BATCH, 1
        self.device = "Keras"

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Return the features, float32 [n,F], of at most `batch` pictures [n,h,w,3] of 0 to 255."""
        count = len(inputs)
        if count < self.batch:
            inputs = np.concatenate([inputs, np.zeros((self.batch - count, *inputs.shape[1:]), inputs.dtype)])
        values = self._model.predict_on_batch(self._preprocess(inputs.astype(np.float32)))
        return np.asarray(values, np.float32)[:count]


def _load(name: str) -> Any:
    backend.start_backend()
    import keras

    makers = {each: make for each, make in vars(keras.applications).items() if inspect.isfunction(make)}
    if name not in makers:
        raise StageError(f"keras:{name} is not there; Keras Applications has {', '.join(sorted(makers))}")
    try:
        return makers[name](include_top=False, pooling="avg", weights="imagenet", input_shape=_shape(makers[name]))
    except Exception as error:  # what a download raises depends on where it fails
        raise StageError(f"keras:{name}: its weights cannot be had ({str(error)[:300]}); try again") from error


def _shape(make: Any) -> tuple[int, int, int]:
    """Return the height, width and channels of the pictures that a network was trained on."""
    default = inspect.signature(make).parameters["input_shape"].default
    side = {"InceptionV3": 299, "InceptionResNetV2": 299, "Xception": 299, "NASNetLarge": 331}.get(make.__name__, 224)
    sizes = {f"EfficientNetB{number}": size for number, size in enumerate((224, 240, 260, 300, 380, 456, 528, 600))}
    sizes |= {f"EfficientNetV2B{number}": size for number, size in enumerate((224, 240, 260, 300))}
    sizes |= {"EfficientNetV2S": 384, "EfficientNetV2M": 480, "EfficientNetV2L": 480}
    return default or (sizes.get(make.__name__, side),) * 2 + (3,)


def _module(name: str) -> Any:
    """Return the module of a network, which has its preprocessing."""
    import keras

    for module in vars(keras.applications).values():
        if inspect.ismodule(module) and hasattr(module, name) and hasattr(module, "preprocess_input"):
            return module
    raise StageError(f"keras:{name} has no preprocessing in this version of Keras; use another network")


def _digest(model: Any) -> str:
    """Return the SHA-256 of all weights, in their order."""
    from keras.ops import convert_to_numpy

    content = hashlib.sha256()
    for weight in model.weights:
        content.update(str(weight.shape).encode())
        content.update(np.ascontiguousarray(convert_to_numpy(weight), np.float32).tobytes())
    return content.hexdigest()
