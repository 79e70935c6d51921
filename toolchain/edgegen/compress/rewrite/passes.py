"""The one table of rewriting passes. Importing it imports no library outside edgegen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One kind of rewrite on one form."""

    name: str
    form: str
    target: str  # "module:function" of (graph, asked, **variant) -> Found
    variants: tuple[Mapping[str, Any], ...] = ({},)  # ways to do it; the cheapest is kept
    each: bool = False  # every place is judged alone: what gains at one place may lose at another


_LAYOUTS = ({"crops": "fewest"}, {"crops": "none"})
_MERGED = ({"into": "transposed"}, {"into": "fewest"}, {"into": "none"})

PASSES: tuple[Pass, ...] = (
    Pass(name="constants", form="onnx", target="edgegen.compress.rewrite.onnx_constants:fold"),
    Pass(name="batch-norm", form="onnx", target="edgegen.compress.rewrite.onnx_affine:fold"),
    Pass(name="padding", form="onnx", target="edgegen.compress.rewrite.onnx_padding:fuse"),
    Pass(name="activations", form="onnx", target="edgegen.compress.rewrite.onnx_activations:simplify"),
    Pass(name="shapes", form="onnx", target="edgegen.compress.rewrite.onnx_reshapes:shorten"),
    Pass(
        name="transposed-convolution",
        form="onnx",
        target="edgegen.compress.rewrite.onnx_transposed:transposed",
        variants=_LAYOUTS,
        each=True,
    ),
    Pass(
        name="repeated-pixels",
        form="onnx",
        target="edgegen.compress.rewrite.onnx_transposed:repeated_pixels",
        variants=_MERGED,
        each=True,
    ),
    Pass(name="matmul-to-gemm", form="onnx", target="edgegen.compress.rewrite.onnx_products:to_gemm", each=True),
    Pass(name="gemm-to-matmul", form="onnx", target="edgegen.compress.rewrite.onnx_products:to_matmul", each=True),
    Pass(name="few-outputs", form="onnx", target="edgegen.compress.rewrite.onnx_transposed:few_outputs", each=True),
    Pass(
        name="neighbours",
        form="onnx",
        target="edgegen.compress.rewrite.onnx_neighbours:widen",
        variants=({"block": 4},),
        each=True,
    ),
    Pass(name="shared-weights", form="onnx", target="edgegen.compress.rewrite.onnx_sharing:share"),
    Pass(name="constants", form="litert", target="edgegen.compress.rewrite.litert_constants:fold"),
    Pass(name="flat-biases", form="litert", target="edgegen.compress.rewrite.litert_biases:flatten"),
    Pass(
        name="transposed-convolution",
        form="litert",
        target="edgegen.compress.rewrite.litert_transposed:transposed",
        variants=_LAYOUTS,
        each=True,
    ),
    Pass(
        name="repeated-pixels",
        form="litert",
        target="edgegen.compress.rewrite.litert_transposed:repeated_pixels",
        variants=_MERGED,
        each=True,
    ),
    Pass(name="one-pixel", form="litert", target="edgegen.compress.rewrite.litert_transposed:one_pixel", each=True),
    Pass(name="padding", form="litert", target="edgegen.compress.rewrite.litert_padding:fuse"),
    Pass(name="shared-weights", form="litert", target="edgegen.compress.rewrite.litert_sharing:share"),
    Pass(name="short-names", form="litert", target="edgegen.compress.rewrite.litert_sharing:shorten_names"),
)
"""In the order in which they are tried: what folds first leaves less to rearrange."""


def passes_of(form: str) -> list[Pass]:
    """The passes on a form, in their order."""
    return [one for one in PASSES if one.form == form]
