"""What torchao 0.18 and Neural Compressor 3.10 offer and no step is made of: why, as seen with torch 2.13 on a CPU.

``tests/benchmarks/bench_borrowed.py`` tries all of it anew. Sizes are of one step of a small transformer, whose float
file has 950,247 bytes and 276,283 with int8 weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_FLOAT = "it rounds weights and leaves them in float: the exported file has all 950,247 bytes of the float one"

REFUSED: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        (
            "torchao-int4",
            "onnx",
        ): "torchao exports 4-bit weights as int8, a scale a block: 308,319 bytes where int8 "
        "takes 276,283; its packed form stops with ImportError: Requires mslk >= 1.0.0. weight-int4 keeps 4 bits",
        ("torchao-dynamic-int8", "onnx"): "the export stops with ConversionError: ONNX has nothing for aten._int_mm",
        ("torchao-dynamic-int4", "onnx"): "torchao exports 4-bit weights as int8 and rounds activations by float "
        "operators before a float product: 321,853 bytes where int8 takes 276,283, and more work",
        ("inc-dynamic-int8", "onnx"): "the export stops with ConversionError: ONNX has nothing for "
        "quantized_decomposed.choose_qparams",
        ("inc-smoothquant", "onnx"): "ModuleNotFoundError: No module named 'intel_extension_for_pytorch'",
        ("inc-rtn4", "onnx"): _FLOAT,
        ("inc-teq4", "onnx"): f"{_FLOAT}; the answers are those of inc-rtn4",
        ("inc-gptq4", "onnx"): "HFValidationError: it wants the name of a Hugging Face model. weight-int4 has gptq",
        ("inc-awq4", "onnx"): "it wants a model of Hugging Face's blocks: AttributeError: 'tuple' object has no "
        "attribute 'to' where a model gives several outputs, UnboundLocalError: 'block_num' without such blocks",
        ("inc-hqq4", "onnx"): "RuntimeError: expected scalar type Float but found Half: it turns models to float16",
        ("inc-autoround4", "onnx"): "NameError: name 'logger' is not defined, where auto-round is not installed",
        ("inc-mx", "onnx"): "it rounds by float operators and keeps the float weights: 1,071,057 bytes where float "
        "takes 950,247",
        ("inc-bf16", "onnx"): "it keeps the float weights and casts them at every run: 952,593 bytes where float takes "
        "950,247. bfloat16 keeps two bytes a weight",
        ("inc-fp8", "onnx"): "ValueError: For FP8 quantization, only QDQ mode is supported on CPU device; in that mode "
        "KeyError: None, as it has no scales for a CPU",
    }
)
"""(name, form) -> the reason, as users are told."""
