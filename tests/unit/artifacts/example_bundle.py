"""A small bundle with real golden vectors, written by the real writer."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from edgegen.artifacts.bundle import CoreContents, Written, writing_bundle
from edgegen.artifacts.sbom import Figure, Origin, bill_of_materials
from edgegen.core.digests import canonical_json, sha256_bytes
from edgegen.core.models import TensorSpec
from edgegen.core.results import Verdict

MODEL = bytes(range(256)) * 40


def npz(arrays: dict[str, Any]) -> bytes:
    """A .npz with the given member names, bytes depending on nothing else."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, array in sorted(arrays.items()):
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asarray(array), allow_pickle=np.asarray(array).dtype == object)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue())
    return packed.getvalue()


def arrays() -> dict[str, Any]:
    z = np.linspace(-1, 1, 8 * 4, dtype=np.float32).reshape(8, 4)
    return {"input/z": z, "output/image": np.tanh(z @ np.ones((4, 9), np.float32)).reshape(8, 1, 3, 3)}


def golden_record(vectors: bytes) -> bytes:
    tolerance = {"absolute": 1e-4, "reason": "test", "from_reference": None}
    record = {
        "schema_version": 1,
        "file": "golden.npz",
        "sha256": sha256_bytes(vectors),
        "samples": 8,
        "runtime": "onnxruntime 1.32.0",
        "origin": "host x86_64 with VNNI",
        "tolerances": {"image": tolerance},
    }
    return canonical_json(record)


def verdict(budget: str, metric: str, kind: str, value: float) -> Verdict:
    return Verdict(
        budget=budget, metric=metric, kind=kind, direction="max", limit=9e9, value=value, unit="", status="pass",
        required=True, reason="",
    )  # fmt: skip


VERDICTS = (
    verdict("instructions", "instructions_min", "counted", 123_456),
    verdict("psnr_db", "psnr_db_mean", "quality", 38.25),
    verdict("latency", "latency_predicted_ms", "predicted", 0.5),
)


def bill(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "name": "digits-vae",
        "version": "0.1.0",
        "candidate": "static-int8@onnx",
        "family": "vae",
        "model_file": "model.onnx",
        "model_sha256": sha256_bytes(MODEL),
        "tools": {
            "runtime": {"onnxruntime": "1.32.0"},
            "training": {"torch": "2.13.0+cpu", "numpy": "2.4.6"},
            "conversion": {"onnx": "1.23.2", "litert-torch": "absent", "numpy": "2.4.6"},
        },
        "dataset": Origin(
            name="mnist-digits",
            version="3a" * 32,
            origin="a package's files",
            licence="MIT (the package's LICENSE file)",
            licence_doubt="the images' own terms are not stated",
            sha256="3a" * 32,
        ),
        "figures": (Figure(name="psnr_db_mean", value=38.25, slice="64 paired samples on cortex-a72"),),
        "limitations": ("28 x 28 grey digits only",),
    }
    return bill_of_materials(**(arguments | changes))


def contents(folder: Path, **changes: Any) -> CoreContents:
    folder.mkdir(parents=True, exist_ok=True)
    vectors = npz(arrays())
    (folder / "m.onnx").write_bytes(MODEL)
    (folder / "golden.npz").write_bytes(vectors)
    (folder / "golden.json").write_bytes(golden_record(vectors))
    arguments: dict[str, Any] = {
        "name": "digits-vae",
        "version": "0.1.0",
        "target": "raspberrypi4",
        "candidate": "static-int8@onnx",
        "recipe": "static-int8",
        "format": "onnx",
        "runtime": "onnxruntime",
        "runtime_version": "1.32.0",
        "model": folder / "m.onnx",
        "inputs": (TensorSpec(name="z", dtype="float32", shape=(1, 4)),),
        "outputs": (TensorSpec(name="image", dtype="float32", shape=(1, 1, 3, 3)),),
        "golden_arrays": folder / "golden.npz",
        "golden_record": folder / "golden.json",
        "preprocessing": {"scale": "divide by 255", "layout": "NCHW"},
        "sbom": bill(),
        "verdicts": VERDICTS,
        "seeds": {"project": 20},
    }
    return CoreContents(**(arguments | changes))


def evidence(digest: str) -> dict[str, bytes]:
    result = {"schema_version": 1, "chosen": {"bundle_digest": digest}, "stages": [{"seconds": 1.5}]}
    return {
        "result.json": canonical_json(result),
        "report.html": b"<!doctype html><p>report",
        "summary.md": b"# summary\n",
        "junit.xml": b"<testsuites/>",
    }


def write(out: Path, work: Path, **changes: Any) -> Written:
    with writing_bundle(out) as writer:
        written = writer.add_core(contents(work, **changes))
        writer.add_evidence(evidence(written.digest))
    return written
