"""How close a candidate's outputs are to the reference's, sample by sample, for equal inputs.

Every function takes two arrays of one shape, samples first, and gives one float64 value a sample: (samples,).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgegen.metrics.shapes import Array, same_samples

PSNR_CAP_DB = 150.0
"""What identical samples get: the true value is infinite, and JSON has no infinity."""

_WINDOW = 11
_SIGMA = 1.5


def mse(reference: Array, candidate: Array, peak: float = 1.0) -> Array:
    """Mean squared error of each sample, in units of the output squared."""
    return np.asarray(np.square(_difference(reference, candidate)).mean(axis=1))


def max_abs_error(reference: Array, candidate: Array, peak: float = 1.0) -> Array:
    """Greatest absolute difference in each sample."""
    return np.asarray(np.abs(_difference(reference, candidate)).max(axis=1))


def psnr_db(reference: Array, candidate: Array, peak: float = 1.0) -> Array:
    """Peak signal-to-noise ratio 10 log10(peak^2 / mse) of each sample in dB, at most ``PSNR_CAP_DB``.

    Args:
        peak: span of the values that the output can take: 1 for images in 0..1.
    """
    with np.errstate(divide="ignore"):
        ratio = 10.0 * (2.0 * np.log10(peak) - np.log10(mse(reference, candidate)))
    return np.asarray(np.minimum(ratio, PSNR_CAP_DB))


def sqnr_db(reference: Array, candidate: Array, peak: float = 1.0) -> Array:
    """Signal-to-quantization-noise ratio 10 log10(sum reference^2 / sum difference^2) of each sample in dB.

    At most ``PSNR_CAP_DB``; it needs no span of values, and is what to read where outputs have none.
    """
    left, right = same_samples(reference, candidate)
    noise = np.square(left - right).sum(axis=1)
    signal = np.square(left).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = 10.0 * (np.log10(signal) - np.log10(noise))
    ratio[noise == 0] = PSNR_CAP_DB
    ratio[(signal == 0) & (noise > 0)] = -PSNR_CAP_DB
    return np.asarray(np.clip(ratio, -PSNR_CAP_DB, PSNR_CAP_DB))


def cosine(reference: Array, candidate: Array, peak: float = 1.0) -> Array:
    """Cosine of the angle between the samples as vectors, -1..1; two zero vectors count as equal, one as orthogonal."""
    left, right = same_samples(reference, candidate)
    norms = np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1)
    product = norms[0] * norms[1]
    inner = np.einsum("ij,ij->i", left, right)
    angle = np.divide(inner, product, out=np.zeros_like(inner), where=product > 0)
    angle[(norms[0] == 0) & (norms[1] == 0)] = 1.0
    return np.asarray(np.clip(angle, -1.0, 1.0))


def ssim(reference: Array, candidate: Array, peak: float = 1.0) -> Array:
    """Structural similarity of each image, mean over channels and windows, at most 1.

    Wang, Bovik, Sheikh and Simoncelli 2004, IEEE Transactions on Image Processing 13(4), equation 13: an 11 x 11
    Gaussian window of sigma 1.5 inside the image (the largest odd one that fits, for smaller images), K1 = 0.01,
    K2 = 0.03. The last two axes are height and width.
    """
    same_samples(reference, candidate, axes=3)
    left, right = reference.astype(np.float64), candidate.astype(np.float64)
    mean_left, mean_right = _blur(left), _blur(right)
    variance_left = _blur(left * left) - mean_left**2
    variance_right = _blur(right * right) - mean_right**2
    covariance = _blur(left * right) - mean_left * mean_right
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    similarity = ((2 * mean_left * mean_right + c1) * (2 * covariance + c2)) / (
        (mean_left**2 + mean_right**2 + c1) * (variance_left + variance_right + c2)
    )
    return np.asarray(similarity.reshape(len(left), -1).mean(axis=1))


def _difference(reference: Array, candidate: Array) -> Array:
    left, right = same_samples(reference, candidate)
    return left - right


def _blur(images: Array) -> Array:
    """Gaussian mean over windows that lie inside the image; the window is separable."""
    for axis in (-1, -2):
        length = min(_WINDOW, images.shape[axis] - (images.shape[axis] + 1) % 2)
        offsets = np.arange(length) - length // 2
        weights = np.exp(-(offsets**2) / (2 * _SIGMA**2))
        weights /= weights.sum()
        valid = images.shape[axis] - length + 1
        blurred = np.zeros((), dtype=np.float64)
        for start, weight in enumerate(weights):
            blurred = blurred + weight * _slice(images, axis, start, valid)
        images = blurred
    return images


def _slice(images: Array, axis: int, start: int, length: int) -> Array:
    index: list[Any] = [slice(None)] * images.ndim
    index[axis] = slice(start, start + length)
    return np.asarray(images[tuple(index)])
