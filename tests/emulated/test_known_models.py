"""Models that packages carry, built to the end with the recipes of a file; prints a row each (``-s`` shows it).

python -m pytest -m long -s tests/emulated/test_known_models.py
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulated_presence import TOOLS_CACHE, absent

import edgegen
from edgegen.core.cache import Cache
from edgegen.core.digests import sha256_file
from support.known_models import KNOWN, Known, fetch

pytestmark = pytest.mark.long

TARGETS = ("linux-x86_64", "raspberrypi4")
REFUSED = {("basic-pitch, LiteRT", "raspberrypi4"): "EG207, litert refuses"}
"""LiteRT's C library, which the emulated core runs, ends with an error where the host's Python interpreter does not."""
ENDS = {"chosen", "eligible", "rejected", "not built"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    cache = tmp_path_factory.mktemp("known") / "cache"
    cache.mkdir()
    (cache / "tools").symlink_to(TOOLS_CACHE / "tools")
    return Cache(cache)


def _file(known: Known) -> Path:
    try:
        return fetch(known, TOOLS_CACHE)
    except subprocess.CalledProcessError as error:
        absent(f"pip does not deliver {known.distribution} {known.version}: {error}")


def _built(known: Known, target: str, folder: Path, kept: Cache) -> Mapping[str, Any]:
    calibration = None
    if known.samples is not None:
        calibration = folder / "calibration.npz"
        np.savez(calibration, **known.samples())
    samples = 16 if not known.heavy else 4 if target == "linux-x86_64" else 2
    return edgegen.build(
        model=_file(known),
        calibration=calibration,
        shapes=known.shapes,
        states=known.states,
        target=target,
        out=folder / "out",
        overrides=(f"quality.samples={samples}",),
        cache=kept,
        jobs=1,
    ).document


def _rows(name: str, target: str, document: Mapping[str, Any]) -> Iterator[str]:
    for item in document["candidates"]:
        if item["status"] == "not built":
            continue
        cost = item["counted"] or item["measured"]
        if not cost:
            yield f"| {name} | {target} | {item['name']}, {item['status']} | | | {item['why_rejected'][:60]} |"
            continue
        paid = f"{cost['instructions']:,}" if item["counted"] else f"{cost['p50_ms']:.3g} ms"
        figures = (item["quality"] or {}).get("paired", {})
        quality = f"{figures['sqnr_db_mean']:.1f} dB" if "sqnr_db_mean" in figures else ""
        yield f"| {name} | {target} | {item['name']}, {item['status']} | {item['size_bytes']:,} | {paid} | {quality} |"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", KNOWN)
def test_known_model_is_built_to_the_end(name: str, target: str, kept: Cache, tmp_path: Path) -> None:
    known = KNOWN[name]
    document = _built(known, target, tmp_path, kept)
    print("", *_rows(name, target, document), sep="\n")
    if (name, target) in REFUSED:
        assert document["exit_code"] == 3
        assert any(REFUSED[name, target] in item["why_rejected"] for item in document["candidates"])
        return
    assert document["exit_code"] == 0
    assert {item["status"] for item in document["candidates"]} <= ENDS, document["candidates"]
    assert all(item["why_rejected"] for item in document["candidates"] if item["status"] != "chosen")
    assert (tmp_path / "out" / target / "bundle" / "index.json").is_file()
    if document["model"]["quantized"]:
        shipped = {item["path"]: item["sha256"] for item in document["chosen"]["files"]}
        assert shipped["model.tflite"] == sha256_file(_file(known))
