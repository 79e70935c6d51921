"""Makes moons.csv again: two half circles with noise, from a formula and a seed (needs numpy).

    python make.py

A point is (cos a, sin a) or (1 - cos a, 1/2 - sin a), a uniform in 0..pi, plus normal noise in both coordinates.
"""

from pathlib import Path

import numpy as np

SAMPLES, NOISE, SEED = 20_000, 0.08, 135


def main() -> None:
    """Writes moons.csv beside this file."""
    draw = np.random.Generator(np.random.PCG64(SEED))
    angle = draw.uniform(0, np.pi, SAMPLES)
    lower = draw.integers(0, 2, SAMPLES).astype(bool)
    x = np.where(lower, 1 - np.cos(angle), np.cos(angle)) + draw.normal(0, NOISE, SAMPLES)
    y = np.where(lower, 0.5 - np.sin(angle), np.sin(angle)) + draw.normal(0, NOISE, SAMPLES)
    lines = [f"{one:.4f},{other:.4f}" for one, other in zip(x, y, strict=True)]
    Path(__file__).with_name("moons.csv").write_text("\n".join(["x,y", *lines]) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
