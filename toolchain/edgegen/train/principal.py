"""The simple model beside a generator of images: principal components, and normal coefficients to draw from them.

Pearson 1901; the components are the eigenvectors of the covariance of the training images with the largest eigenvalues.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

_NUMBER_BYTES = 4  # mean, components and deviations as float32
_MOST_NUMBERS = 1 << 26  # of images to learn from: 256 MiB


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Principal:
    """Mean and components of images."""

    shape: tuple[int, ...]  # of one image
    mean: Array  # (numbers,)
    components: Array  # (components, numbers), orthonormal rows, the most telling first
    deviations: Array  # (components,) of the training images' coefficients

    @property
    def bytes(self) -> int:
        """What it would take on a device that redraws and draws with it."""
        return _NUMBER_BYTES * (self.mean.size + self.components.size + self.deviations.size)

    def first(self, components: int) -> Principal:
        """The same with only so many components."""
        return Principal(
            shape=self.shape,
            mean=self.mean,
            components=self.components[:components],
            deviations=self.deviations[:components],
        )

    def redraw(self, images: Array) -> Array:
        """Images (samples, *shape) from their own coefficients, float32 in 0..1."""
        return self._images((images.reshape(len(images), -1) - self.mean) @ self.components.T)

    def draw(self, samples: int, seed: int) -> Array:
        """Images (samples, *shape), float32 in 0..1, from coefficients that are normal and independent."""
        drawn = np.random.Generator(np.random.PCG64(seed)).standard_normal((samples, len(self.deviations)), np.float32)
        return self._images(drawn * self.deviations)

    def _images(self, coefficients: Array) -> Array:
        images = self.mean + coefficients @ self.components
        return np.asarray(images.clip(0, 1).reshape(-1, *self.shape).astype(np.float32))


def fit_principal(images: Array, most_bytes: int) -> Principal | None:
    """Principal components of images (samples, channels, height, width): as many as fit into ``most_bytes``.

    A set that is too large for memory is judged by evenly spaced images of it. None where not even one component fits.
    """
    numbers = int(np.prod(images.shape[1:]))
    room = (most_bytes // _NUMBER_BYTES - numbers) // (numbers + 1)
    taken = np.asarray(evenly(images, _MOST_NUMBERS // numbers), dtype=np.float32).reshape(-1, numbers)
    count = min(room, numbers, len(taken) - 1)
    if count < 1:
        return None
    mean = taken.mean(axis=0)
    centred = taken - mean
    # The smaller of the two products has the same eigenvalues: Turk and Pentland 1991, "Eigenfaces for recognition".
    wide = numbers > len(taken)
    product = (centred @ centred.T if wide else centred.T @ centred).astype(np.float64) / (len(taken) - 1)
    variances, vectors = np.linalg.eigh(product)  # ascending
    variances, vectors = variances[::-1][:count], vectors[:, ::-1][:, :count]
    components = centred.T @ vectors if wide else vectors
    components = components / np.maximum(np.linalg.norm(components, axis=0), 1e-12)
    return Principal(
        shape=images.shape[1:],
        mean=mean,
        components=components.T.astype(np.float32),
        deviations=np.sqrt(variances.clip(0)).astype(np.float32),
    )


def evenly(rows: Array, most: int) -> Array:
    """All rows, or ``most`` of them at even distances: a part in the order of its classes is no sample of it."""
    if len(rows) <= most:
        return rows
    return rows[np.arange(most) * len(rows) // most]
