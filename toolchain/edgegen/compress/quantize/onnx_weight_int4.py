"""4-bit weights in ONNX.

All weights, also those of convolutions and embeddings, are stored in 4 bits and expanded to float by Cast and Mul,
which the runtime folds when it loads. Matrix products (MatMul, and Gemm as product and sum) may compute with the 4-bit
blocks themselves, by MatMulNBits: less memory, and more instructions for one row of activations (a cortex-a76: 1.05
times those of float in a small transformer's step, a cortex-a72: 2.0 times).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.onnx_weight_only import LEAST_PRODUCT_BLOCK, WeightPlan, compress
from edgegen.compress.quantize.settings import WeightInt4
from edgegen.core.errors import BuildError


def apply(source: Path, folder: Path, settings: WeightInt4, context: StepContext) -> dict[str, Any]:
    """Writes the model with the weights of its heavy operators in 4 bits; returns what was done.

    Raises:
        BuildError: see ``onnx_weight_only.compress``; or a block that matrix products cannot have.
    """
    block = settings.block
    if settings.products == "blocks" and (block < LEAST_PRODUCT_BLOCK or block & (block - 1)):
        raise BuildError(
            "matrix products cannot have blocks of this size",
            where="[compress.weight-int4] block",
            got=block,
            expected="a power of two of 16 or more",
            next_step='choose another, or set products = "expand"',
        )
    plan = WeightPlan(
        bits=4,
        block=block,
        method=settings.method,
        expand=settings.expand,
        products=settings.products == "blocks",
        keep_float=settings.keep_float,
        calibration_samples=settings.calibration_samples,
    )
    return compress(source, folder, plan, context)
