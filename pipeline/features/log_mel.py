"""VGGish's view of sound: the logarithm of a mel spectrogram, 96 steps of 10 ms by 64 bands, of 0.96 s at 16 kHz.

Source: mel_features.py and vggish_params.py of github.com/tensorflow/models, research/audioset/vggish.
"""

import functools

import numpy as np

RATE, WINDOW, HOP, STEPS, BANDS = 16_000, 400, 160, 96, 64
SAMPLES = STEPS * HOP + WINDOW - HOP
"""Samples that 96 steps see: 0.975 s."""
_FFT, _LOWEST, _HIGHEST, _OFFSET = 512, 125.0, 7500.0, 0.01


def log_mel(windows: np.ndarray) -> np.ndarray:
    """Return log mel spectrograms, float32 [n,1,96,64], of windows of sound at 16 kHz, float32 [n,15600]."""
    places = HOP * np.arange(STEPS)[:, None] + np.arange(WINDOW)
    frames = windows[:, places] * _hann()  # N,96,400
    magnitudes = np.abs(np.fft.rfft(frames, _FFT, axis=-1))
    return np.log(magnitudes @ _bands() + _OFFSET).astype(np.float32)[:, None]


@functools.cache
def _hann() -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi / WINDOW * np.arange(WINDOW))


@functools.cache
def _bands() -> np.ndarray:
    """Return the weights of the spectrum in each band, [257,64]: triangles on the mel scale."""
    mels = _mel(np.linspace(0, RATE / 2, _FFT // 2 + 1))[:, None]
    edges = np.linspace(_mel(_LOWEST), _mel(_HIGHEST), BANDS + 2)
    lower, center, upper = edges[:-2], edges[1:-1], edges[2:]
    weights = np.maximum(0, np.minimum((mels - lower) / (center - lower), (upper - mels) / (upper - center)))
    weights[0] = 0
    return weights


def _mel(hertz):
    return 1127.0 * np.log(1.0 + hertz / 700.0)
