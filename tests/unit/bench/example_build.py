"""A build as one for a Raspberry Pi 4 could be: invented figures in the proportions of real ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgegen.bench.choose import Choice, choose
from edgegen.bench.predict import predict
from edgegen.bench.result import result_document
from edgegen.core.budgets import read_budgets
from edgegen.core.errors import ExitCode
from edgegen.core.results import Candidate, CountedCost
from edgegen.core.targets import INSTRUCTION_CLASSES, load_target
from edgegen.metrics.table import METRICS

PROFILE = load_target("raspberrypi4")
TABLE = {
    "instructions": {"max": 3_000_000},
    "size": {"max_bytes": 400_000},
    "peak_ram": {"max_bytes": 67_108_864},
    "psnr_db": {"min": 25, "statistic": "worst5"},
    "latency": {"max_ms": 25, "kind": "predicted", "required": False},
}
FIGURES = {  # recipe -> size, instructions (onnx), PSNR mean and worst
    "float32": (912_000, 4_410_000, 150.0, 150.0),
    "float16": (459_000, 4_620_000, 71.3, 68.9),
    "weight-int8": (233_000, 5_230_000, 47.9, 44.2),
    "dynamic-int8": (235_000, 3_910_000, 40.1, 33.8),
    "static-int8": (239_000, 2_410_000, 38.6, 31.2),
    "pruned": (610_000, 3_020_000, 27.1, 21.3),
    "pruned+static-int8": (160_000, 1_690_000, 26.4, 20.8),
    "distilled": (330_000, 1_730_000, 29.8, 25.9),
    "distilled+static-int8": (91_000, 985_000, 29.4, 25.2),
}
SHARES = {"fma": 0.38, "dot": 0.0, "mmla": 0.0, "mlal": 0.09, "simd": 0.17, "load_store": 0.21, "branch": 0.06}


def budgets(table: dict | None = None) -> dict:
    return read_budgets(TABLE if table is None else table, METRICS, "budgets", "edgegen.toml")


def cost(instructions: int) -> CountedCost:
    by_class = {name: int(instructions * SHARES.get(name, 0)) for name in INSTRUCTION_CLASSES}
    by_class["integer"] = instructions - sum(by_class.values())
    operators = tuple(
        {"name": f"/decoder/layer{index}", "operator": kind, "instructions": int(instructions * share)}
        | ({"macs": instructions // 4, "roof_ratio": 0.25 * 0.25 / share} if kind.startswith("Conv") else {})
        for index, (kind, share) in enumerate(
            [("ConvTranspose", 0.55), ("Conv", 0.2), ("Gemm", 0.11), ("Sigmoid", 0.06)]
        )
    )
    return CountedCost(
        instructions=instructions,
        instructions_median=instructions + 210,
        by_class=by_class,
        bytes_loaded=instructions * 3,
        bytes_stored=instructions // 2,
        macs=instructions // 3,
        per_operator=operators,
        unexplained_ratio=0.08,
    )


def told(step: str, *changed: str) -> dict:
    sizes = {"bytes": 912_000, "parameters": 228_000, "macs": 1_400_000}
    return {"step": step, "form": "onnx", "before": sizes, "after": sizes, "changed": list(changed), "figures": {}}


def candidate(
    name: str = "static-int8@onnx",
    *,
    size: int | None = 239_000,
    instructions: int | None = 2_410_000,
    psnr: tuple[float, float] | None = (38.6, 31.2),
    status: str = "eligible",
    peak_ram: int | None = 31_000_000,
    **changes: object,
) -> Candidate:
    recipe, _, format_name = name.partition("@")
    counted = None if instructions is None else cost(instructions)
    quality = None
    if psnr is not None:
        quality = {
            "paired": {"psnr_db_mean": psnr[0], "psnr_db_worst5": psnr[1], "cosine_mean": 0.9991, "ssim_mean": 0.991},
            "task": {"top1_agreement_ratio_mean": 0.984, "kl_divergence_mean": 0.0061},
            "cross_isa": {"max_abs_difference": 3.1e-6, "psnr_db_mean": 128.3},
        }
    made = Candidate(
        name=name,
        recipe=recipe,
        format=format_name,
        runtime={"onnx": "onnxruntime", "litert": "litert"}[format_name],
        status=status,
        why_rejected="",
        size_bytes=size,
        parameters=228_000,
        peak_ram_bytes=peak_ram,
        counted=counted,
        predicted=predict(counted, PROFILE) if counted else None,
        quality=quality,
        passes=(told(recipe, "12 of 14 constant tensors are int8 now", "the file is 73.8 % smaller"),),
        sha256="5f" * 32,
    )
    return replace(made, **changes)


def candidates() -> list[Candidate]:
    made = []
    for recipe, (size, instructions, mean, worst) in FIGURES.items():
        psnr = (mean, worst)
        made.append(candidate(f"{recipe}@onnx", size=size, instructions=instructions, psnr=psnr))
        if "pruned" not in recipe:
            other = int(instructions * 0.83) + 61_000
            made.append(candidate(f"{recipe}@litert", size=size + 4_100, instructions=other, psnr=psnr))
    missing = {"size": None, "instructions": None, "psnr": None, "peak_ram": None}
    made.append(
        candidate(
            "pruned@litert", status="not built", why_rejected="pip install 'edgegen[litert]'", passes=(), **missing
        )
    )
    return made


def choice() -> Choice:
    return choose(candidates(), budgets(), PROFILE)


_FIGURES = {  # name -> value, unit, better, real, draws, seeds
    "elbo": (-98.4, "nats", "higher", None, None, None),
    "reconstruction_nats": (74.1, "nats", "lower", None, None, None),
    "kl_nats": (24.3, "nats", "lower", None, None, None),
    "mse": (0.0113, "", "lower", None, None, None),
    "ssim": (0.931, "", "higher", None, None, None),
    "psnr_db": (20.7, "dB", "higher", None, None, None),
    "fid": (4.71, "", "lower", 0.854, 0.9884, 1.93),
    "kid": (0.92, "", "lower", 0.053, 0.03, 0.11),
    "precision": (0.914, "", "higher", 0.888, 0.004, 0.013),
    "recall": (0.871, "", "higher", 0.886, 0.046, 0.052),
    "density": (0.54, "", "higher", None, 0.01, None),
    "coverage": (0.44, "", "higher", 0.976, None, None),
}


def training(**changes: object) -> dict:
    figures = [
        {
            "name": name,
            "value": value,
            "unit": unit,
            "better": better,
            "group": "Held-out samples" if real is None and draws is None else "Samples drawn by the model",
            "doc": f"what {name} says",
            "low": 20.5 if name == "psnr_db" else None,
            "high": 20.9 if name == "psnr_db" else None,
            "real": real,
            "draws": draws,
            "seeds": seeds,
            "baseline": {"name": "PCA, 16 components", "value": 18.9, "bytes": 12_544} if name == "psnr_db" else None,
        }
        for name, (value, unit, better, real, draws, seeds) in _FIGURES.items()
    ]
    made = {
        "samples": 2000,
        "figures": figures,
        "confusion": None,
        "shares": {},
        "notes": [],
        "history": [{"loss": 180.2, "kl": 20.1}, {"loss": 121.5, "kl": 23.4}, {"loss": 110.8, "kl": 24.0}],
        "data": {"name": "mnist-digits", "synthetic": False},
    }
    return {**made, **changes}


def calibration() -> dict:
    spread = {"psnr_db_mean": {"low": 38.1, "high": 39.0}, "psnr_db_worst5": {"low": 30.8, "high": 31.9}}
    return {
        "set": {
            "name": "watch, 512 training samples by seed 20",
            "sha256": "c4" * 32,
            "findings": [{"rule": "constant-channel", "severity": "say", "said": "one channel never changes"}],
        },
        "inputs": 512,
        "draws": 3,
        "spread": {
            "static-int8@onnx": {"figures": spread, "failed": ""},
            "static-int8@litert": {"figures": {}, "failed": "the quantizer failed"},
        },
    }


def document(**changes: object) -> dict:
    arguments: dict = {
        "name": "digits-vae",
        "version": "0.1.0",
        "target": "raspberrypi4",
        "target_requested": "raspberrypi",
        "exit_code": ExitCode.OK,
        "choice": choice(),
        "samples": 64,
        "training": training(),
        "calibration": calibration(),
        "environment": {
            "tools": {
                "onnxruntime": "1.32.0",
                "torch": "2.13.0",
                "ai-edge-litert": "2.3.0",
                "qemu": "sha256:" + "8c" * 32,
            },
            "host": {"machine": "x86_64", "system": "Linux", "simd": "avx2 fma avx512f avx512_vnni"},
            "device": {"kind": "qemu", "core": "cortex-a72", "isa": "aarch64", "emulated": True},
            "seeds": {"project": 20},
        },
    }
    return result_document(**(arguments | changes))


def images(samples: int = 64, seed: int = 3) -> dict[str, np.ndarray]:
    """Blurred strokes and a slightly coarser copy: (samples, 1, 28, 28) in 0..1."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:28, 0:28]
    made = np.zeros((samples, 28, 28))
    for index in range(samples):
        for x, y in generator.uniform(6, 22, (9, 2)):
            made[index] += np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 4.0)
    exact = np.clip(made, 0, 1)[:, None].astype(np.float32)
    coarse = np.clip(np.rint(exact * 20) / 20 + generator.normal(0, 0.012, exact.shape), 0, 1).astype(np.float32)
    return {"float": exact, "chosen": coarse}
