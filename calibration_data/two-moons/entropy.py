"""Differential entropy of the formula in make.py, by numerical integration, in nats a point (needs numpy).

    python entropy.py

No model can reach a higher mean log-likelihood than its negative. The density of one half circle is the mean of the
noise's over the angle, by the midpoint rule; the integral of -p log p is taken over a square grid. Half the steps in
both give the same four digits.
"""

import numpy as np
from make import NOISE

ANGLES, STEP = 1000, 0.01


def density(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """p of points in the units of moons.csv."""
    angles = (np.arange(ANGLES) + 0.5) * np.pi / ANGLES
    total = np.zeros_like(x)
    for angle in angles:
        upper = (x - np.cos(angle)) ** 2 + (y - np.sin(angle)) ** 2
        lower = (x - 1 + np.cos(angle)) ** 2 + (y - 0.5 + np.sin(angle)) ** 2
        total += np.exp(-upper / (2 * NOISE**2)) + np.exp(-lower / (2 * NOISE**2))
    return total / (2 * ANGLES * 2 * np.pi * NOISE**2)


def main() -> None:
    """Prints the density's integral, which should be 1, and the entropy."""
    x, y = np.meshgrid(np.arange(-1.7, 2.7, STEP), np.arange(-1.2, 1.7, STEP))
    p = density(x, y)
    entropy = -(p * np.log(np.maximum(p, 1e-300))).sum() * STEP**2
    print(f"integral {p.sum() * STEP**2:.6f}, entropy {entropy:.4f} nats a point")


if __name__ == "__main__":
    main()
