"""From stored frames to values: make the mask of valid frames, drop frames at random, and dequantize each feature."""

import keras
from keras import ops

from pipeline.config import byte_scale

_RANGE = {"minimum": -2.0, "maximum": 2.0}
"""YouTube-8M's, which a stored layer without a range has."""
LARGEST = 1e15
"""The bound on float values: the squares of all values of a batch can still be summed in float32."""


@keras.saving.register_keras_serializable(package="pipeline")
class FrameMask(keras.layers.Layer):
    """frames [B,T,F], num_frames int32 [B] -> 1.0 on the valid rows of each video, 0.0 on padding, [B,T]."""

    def call(self, frames, num_frames):
        positions = ops.arange(ops.shape(frames)[1], dtype="int32")
        return ops.cast(positions[None, :] < num_frames[:, None], self.compute_dtype)  # B,T

    def compute_output_shape(self, frames_shape, num_frames_shape):
        return frames_shape[:2]


@keras.saving.register_keras_serializable(package="pipeline")
class FrameDropout(keras.layers.Layer):
    """mask [B,T] -> in training, the mask without a random share `rate` of each video's valid frames.

    The remaining frames are not scaled up, since poolings average the frames that they are shown. Each video keeps at
    least one frame.
    """

    def __init__(self, rate: float, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, valid, training=False):
        if not training:
            return valid
        draws = keras.random.uniform(ops.shape(valid), seed=self.seed_generator)  # B,T
        draws = ops.where(valid > 0, draws, -1.0)
        threshold = ops.minimum(ops.max(draws, axis=1, keepdims=True), self.rate)  # B,1
        return ops.where(draws >= threshold, valid, 0.0)

    def compute_output_shape(self, valid_shape):
        return valid_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable(package="pipeline")
class Feature(keras.layers.Layer):
    """frames [B,T,F] -> the columns of one feature [B,T,size]; bytes are dequantized, floats are bounded.

    Dequantizing inside the model means that each value travels to the device as one byte, a float16 as two.
    """

    def __init__(self, start: int, size: int, quantized: bool, minimum: float = -2.0, maximum: float = 2.0, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.start = start
        self.size = size
        self.quantized = quantized
        self.range = {"minimum": minimum, "maximum": maximum}

    def call(self, frames):
        values = frames[:, :, self.start : self.start + self.size]  # B,T,size
        if self.quantized:
            step, shift = byte_scale(**self.range)
            return ops.cast(values, self.compute_dtype) * step + shift
        values = ops.cast(values, "float32")  # float16 does not reach the bound
        return ops.cast(ops.clip(values, -LARGEST, LARGEST), self.compute_dtype)

    def compute_output_shape(self, frames_shape):
        return (*frames_shape[:2], self.size)

    def get_config(self):
        own = {"start": self.start, "size": self.size, "quantized": self.quantized}
        # The usual range is left out, so that a model has the digest that it had before there were others.
        return super().get_config() | own | (self.range if self.range != _RANGE else {})
