"""A frame's picture as a network wants it: resized and cropped as Pillow does, then scaled and ordered."""

import numpy as np
from PIL import Image

from pipeline.features.backbone import Backbone

_INTERPOLATIONS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def cropped(picture: np.ndarray, backbone: Backbone, aspect: float) -> np.ndarray:
    """Return what a network sees of a picture, uint8 [backbone.height,backbone.width,3].

    Args:
        picture: uint8 [h,w,3], red, green and blue.
        backbone: how it is resized and cropped.
        aspect: width of the picture over its height as it is to be seen: pixels need not be square.
    """
    height, width = backbone.height, backbone.width
    tall, wide = backbone.resize or height, backbone.resize or width
    if backbone.fit == "shortest":
        least = backbone.resize or max(height, width)
        tall, wide = (least, max(round(least * aspect), width)) if aspect >= 1 else (round(least / aspect), least)
    image = Image.fromarray(np.ascontiguousarray(picture))
    resized = image.resize((wide, max(tall, height)), _INTERPOLATIONS[backbone.interpolation])
    top, left = round((resized.height - height) / 2), round((resized.width - width) / 2)
    return np.asarray(resized.crop((left, top, left + width, top + height)))


def normalized(pictures: np.ndarray, backbone: Backbone) -> np.ndarray:
    """Return the input of a network, float32 [n,3,h,w] or [n,h,w,3], of cropped pictures, uint8 [n,h,w,3]."""
    if backbone.channels == "bgr":
        pictures = pictures[..., ::-1]
    values = pictures.astype(np.float32)
    if backbone.scale != 1:
        values *= np.float32(backbone.scale)
    if any(backbone.mean):
        values -= np.asarray(backbone.mean, np.float32)
    if backbone.deviation != (1.0,):
        values /= np.asarray(backbone.deviation, np.float32)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2)) if backbone.layout == "nchw" else values
