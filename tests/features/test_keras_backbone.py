"""Networks of Keras Applications as backbones; the weights that Keras publishes are not downloaded here."""

import numpy as np
import pytest

from pipeline.config.errors import StageError
from pipeline.features.backbone import Backbone
from pipeline.features.keras_backbone import KerasBackbone, keras_backbone
from pipeline.features.networks import Network


@pytest.fixture
def small_network(monkeypatch):
    """MobileNet, made of one layer; its preprocessing stays."""
    import keras

    def MobileNet(include_top=True, weights="imagenet", input_shape=None, pooling=None):
        assert (include_top, weights, pooling) == (False, "imagenet", "avg")
        keras.utils.set_random_seed(3)
        inputs = keras.Input(input_shape)
        values = keras.layers.Conv2D(5, 32, 32)(inputs)
        return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(values))

    monkeypatch.setattr(keras.applications, "MobileNet", MobileNet)


def test_a_network_makes_features(small_network):
    from keras.applications.mobilenet import preprocess_input

    backbone = keras_backbone("MobileNet")
    assert (backbone.file, backbone.height, backbone.width) == ("keras:MobileNet", 224, 224)
    network = Network(backbone, None, 1)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), np.uint8)
    model = network._compute._model
    expected = model.predict_on_batch(preprocess_input(pictures.astype(np.float32)))
    np.testing.assert_allclose(network(pictures), expected, atol=1e-5)
    assert network.size == 5


def test_other_weights_or_networks_are_refused(small_network):
    with pytest.raises(StageError, match="must have 00000"):
        KerasBackbone(Backbone(name="a", file="keras:MobileNet", sha256="0" * 64))
    with pytest.raises(StageError, match="keras:MobileNot is not there; Keras Applications has ConvNeXtBase, "):
        keras_backbone("MobileNot")
