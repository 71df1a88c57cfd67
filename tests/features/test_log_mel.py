"""VGGish's log mel spectrogram, against a form that follows its definition word by word."""

import numpy as np

from pipeline.features.log_mel import SAMPLES, log_mel


def slow(window: np.ndarray) -> np.ndarray:
    """[96,64], as mel_features.py of VGGish defines it."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi / 400 * np.arange(400))
    mel = lambda hertz: 1127.0 * np.log(1.0 + hertz / 700.0)  # noqa: E731
    edges = np.linspace(mel(125.0), mel(7500.0), 66)
    found = np.zeros((96, 64))
    for step in range(96):
        spectrum = np.abs(np.fft.rfft(window[step * 160 : step * 160 + 400] * hann, 512))
        for band in range(64):
            lower, center, upper = edges[band : band + 3]
            total = 0.0
            for place in range(1, 257):
                own = mel(place * 16_000 / 512)
                total += (
                    max(0.0, min((own - lower) / (center - lower), (upper - own) / (upper - center))) * spectrum[place]
                )
            found[step, band] = np.log(total + 0.01)
    return found


def test_log_mel_is_as_defined():
    window = np.random.default_rng(0).normal(0, 0.1, SAMPLES).astype(np.float32)
    ours = log_mel(window[None])
    assert ours.shape == (1, 1, 96, 64) and ours.dtype == np.float32 and SAMPLES == 15_600
    np.testing.assert_allclose(ours[0, 0], slow(window), atol=1e-4)
