"""What a network sees of a picture, against Pillow and plain arithmetic."""

import numpy as np
import pytest
from PIL import Image

from pipeline.features.backbone import Backbone
from pipeline.features.pictures import cropped, normalized

PICTURE = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)


def backbone(**fields) -> Backbone:
    return Backbone(name="a", file="a", **{"height": 32, "width": 32, **fields})


def test_stretched_and_cropped():
    seen = cropped(PICTURE, backbone(resize=40, fit="stretch", interpolation="bilinear"), 160 / 90)
    whole = Image.fromarray(PICTURE).resize((40, 40), Image.Resampling.BILINEAR)
    assert np.array_equal(seen, np.asarray(whole.crop((4, 4, 36, 36))))


@pytest.mark.parametrize(("aspect", "size"), [(160 / 90, (64, 36)), (1.0, (36, 36)), (0.5, (36, 72))])
def test_the_shorter_side_is_resized_as_it_is_to_be_seen(aspect, size):
    seen = cropped(PICTURE, backbone(resize=36), aspect)
    whole = Image.fromarray(PICTURE).resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - 32) // 2, (size[1] - 32) // 2
    assert np.array_equal(seen, np.asarray(whole.crop((left, top, left + 32, top + 32))))


def test_what_is_not_square():
    assert cropped(PICTURE, backbone(height=24, width=48), 1.0).shape == (24, 48, 3)
    assert cropped(PICTURE, backbone(height=48, width=24), 3.0).shape == (48, 24, 3)


def test_values_are_scaled_and_ordered():
    pictures = PICTURE[None, :32, :32]
    ours = normalized(pictures, backbone(scale=1 / 255, mean=(0.1, 0.2, 0.3), deviation=(0.5, 0.25, 0.2)))
    expected = (pictures / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.25, 0.2]
    np.testing.assert_allclose(ours, expected.transpose(0, 3, 1, 2), atol=1e-5)
    blue = normalized(pictures, backbone(channels="bgr", layout="nhwc", mean=(104.0, 117.0, 123.0)))
    assert np.array_equal(blue, pictures[..., ::-1].astype(np.float32) - np.float32([104, 117, 123]))
