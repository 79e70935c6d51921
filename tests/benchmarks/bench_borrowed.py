"""Every quantization path of torchao and of Neural Compressor, tried anew: does an exported file keep its bytes?

Prints a table: the error, or the size of the ONNX file beside the float one, the share of its weights that are stored
in 8 bits or fewer, and the error on one input. What keeps its bytes is a step of edgegen; of the others
``edgegen.compress.steps.NOT_BUILT`` tells why. The models are small and untrained: the error says that a path works, it
is no ranking. Each path runs in a process of its own.

    pip install 'edgegen[compress]' accelerate
    python tests/benchmarks/bench_borrowed.py [--model image|text] [NAME ...]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

TIMEOUT_S = 300


def model(kind: str) -> tuple[Any, tuple[Any, ...]]:
    """An untrained decoder of images (linear and convolutions) or one step of a transformer, and an example input."""
    import torch

    from edgegen.train.families import find_family

    torch.manual_seed(0)
    family = find_family("vae" if kind == "image" else "autoregressive")
    if kind == "image":
        settings = family.settings(latent=16, side=28, image_channels=1)
    else:
        settings = family.settings(cell="transformer", layers=2, width=96, heads=6, vocabulary=64, context=32)
    module = family.deployed(family.build(settings)).eval()
    example = tuple(
        torch.randn(spec.shape) if spec.dtype == "float32" else torch.ones(spec.shape, dtype=torch.int64)
        for spec in family.signature(settings)[0]
    )
    return module, example


def torchao(config: str, **settings: Any) -> Callable[[Any, Any], Any]:
    """``quantize_`` with one of its configurations."""

    def run(module: Any, example: Any) -> Any:
        import torch
        import torchao.quantization
        from torchao.quantization.granularity import PerGroup

        known = {"int4": torch.int4, "group": PerGroup(32)}
        given = {name: known[value] if isinstance(value, str) else value for name, value in settings.items()}
        torchao.quantization.quantize_(module, getattr(torchao.quantization, config)(**given))
        return module

    return run


def torchao_pt2e(module: Any, example: Any) -> Any:
    """The graph of torch.export, annotated for x86."""
    import torch
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(torch.export.export(module, example).module(), quantizer)
    prepared(*example)
    return convert_pt2e(prepared)


def inc(config: str, *, graph: bool = False, run: bool = True, give: bool = True, **settings: Any) -> Any:
    """Neural Compressor's prepare and convert.

    Args:
        graph: give it torch.export's graph rather than the module.
        run: run the example between the two.
        give: give ``prepare`` the example.
    """

    def convert(module: Any, example: Any) -> Any:
        from neural_compressor.torch import quantization

        if graph:
            from neural_compressor.torch.export import export

            module = export(module, example_inputs=example)
        given = {"example_inputs": example} if give and not graph else {}
        prepared = quantization.prepare(module, getattr(quantization, config)(**settings), **given)
        if run:
            prepared(*example)
        return quantization.convert(prepared)

    return convert


_FOUR = {"bits": 4, "group_size": 32, "use_sym": True}

ATTEMPTS: dict[str, Callable[[Any, Any], Any]] = {
    "torchao-int8": torchao("Int8WeightOnlyConfig"),
    "torchao-int4": torchao("IntxWeightOnlyConfig", weight_dtype="int4", granularity="group"),
    "torchao-int4-packed": torchao("Int4WeightOnlyConfig", group_size=32),
    "torchao-dynamic-int8": torchao("Int8DynamicActivationInt8WeightConfig"),
    "torchao-dynamic-int4": torchao("Int8DynamicActivationIntxWeightConfig"),
    "torchao-float8": torchao("Float8WeightOnlyConfig"),
    "torchao-static-int8": torchao_pt2e,
    "inc-static-int8": inc("StaticQuantConfig", graph=True),
    "inc-static-int8-eager": inc("StaticQuantConfig"),
    "inc-dynamic-int8": inc("DynamicQuantConfig", graph=True),
    "inc-smoothquant": inc("SmoothQuantConfig"),
    "inc-rtn4": inc("RTNConfig", run=False, give=False, **_FOUR),
    "inc-teq4": inc("TEQConfig", **_FOUR),
    "inc-gptq4": inc("GPTQConfig", give=False, **_FOUR),
    "inc-awq4": inc("AWQConfig", **_FOUR),
    "inc-hqq4": inc("HQQConfig", run=False, give=False, bits=4, group_size=32),
    "inc-autoround4": inc("AutoRoundConfig", give=False, bits=4, group_size=32),
    "inc-mx": inc("MXQuantConfig", run=False, give=False),
    "inc-bf16": inc("MixedPrecisionConfig", run=False, give=False, dtype="bf16"),
    "inc-fp8": inc("FP8Config", give=False, fp8_config="E4M3"),
    "inc-fp8-qdq": inc("FP8Config", give=False, fp8_config="E4M3", use_qdq=True),
}


def attempt(name: str, kind: str) -> str:
    """Tries one path in this process; whatever it raises is the answer."""
    import torch

    module, example = model(kind)
    with torch.no_grad():
        wanted = _first(module(*example))
    plain = _stored(module, example)
    quantized = ATTEMPTS[name](module, example)
    with torch.no_grad():
        given = _first(quantized(*example))
    error = float((given - wanted).norm() / wanted.norm())
    size, small = _stored(quantized, example)
    return f"{size} bytes, float {plain[0]}; {small:.0%} of the stored numbers in 8 bits or fewer; error {error:.4f}"


def _first(given: Any) -> Any:
    return given if hasattr(given, "norm") else given[0]


def _stored(module: Any, example: Any) -> tuple[int, float]:
    """Bytes of the ONNX file as edgegen exports what is quantized, and the share of small integers in it."""
    import onnx
    import onnxscript.optimizer
    import torch

    from edgegen.compress.quantize.borrowed_export import FOLDED_NUMBERS, round_constants
    from edgegen.export.onnx_file import strip

    program = module if isinstance(module, torch.export.ExportedProgram) else torch.export.export(module, example)
    exported = torch.onnx.export(program, dynamo=True, opset_version=20, optimize=False, verbose=False)
    assert exported is not None
    made = onnxscript.optimizer.optimize(exported.model_proto, input_size_limit=FOLDED_NUMBERS)
    round_constants(made)
    strip(made)
    small = [getattr(onnx.TensorProto, kind) for kind in ("INT8", "UINT8", "INT4", "UINT4", "FLOAT8E4M3FN")]
    numbers = [
        (tensor.data_type in small, max(1, torch.Size(tensor.dims).numel())) for tensor in made.graph.initializer
    ]
    return len(made.SerializeToString()), sum(count for yes, count in numbers if yes) / sum(n for _, n in numbers)


def tried(name: str, kind: str) -> str:
    """What came of one path, in a process of its own: the last line that it wrote."""
    command = [sys.executable, __file__, "--one", "--model", kind, name]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S, cwd=folder)
    if done.returncode == 0:
        return done.stdout.strip().splitlines()[-1]
    told = [line for line in done.stderr.splitlines() if "Error" in line and not line.startswith(" ")]
    return "FAIL " + (told[-1] if told else f"exit code {done.returncode}")[:200]


def main() -> None:
    """Tries what is named, or everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *ATTEMPTS], metavar="NAME")
    parser.add_argument("--model", choices=("image", "text"), default="text")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(attempt(given.names[0], given.model))
        return
    for name in given.names or ATTEMPTS:
        print(f"| {name} | {tried(name, given.model)} |", flush=True)


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[2] / name) for name in ("toolchain", "runtimes/linux")]
    main()
