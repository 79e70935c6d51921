"""edgegen beside the quantizers that people use: the same models, calibration inputs, boards and held-out inputs.

    python tests/benchmarks/bench_rivals.py [--template vae ...] [--target raspberrypi5] [--samples 256] [--cache DIR]

Stock onnxruntime and ai-edge-quantizer run in this environment; Olive, nncf and Neural Compressor each in a virtual
environment of its own, which pip makes below the cache (about 4 GB together; --without NAME leaves one out). Every file
is run on the emulated board by the same runtime. A tool that gives no file, or one that the runtime refuses, stands in
the table with its reason. Prints a Markdown table a model; --json FILE writes the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.compared import Row, floats, markdown, plain_defaults, presets, tried, yardstick  # noqa: E402
from support.yardstick import Weighed, Yardstick  # noqa: E402

SCRIPTS = Path(__file__).resolve().parent / "rivals"
TORCH = "torch>=2.8,<2.14"
RUNTIME = ("onnxruntime==1.32.0", "onnx<1.24", "onnxscript")
_CALIBRATED = 256
_SECONDS = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A foreign tool: what pip installs for it, and the ways of calling it."""

    name: str
    packages: tuple[str, ...]
    ways: dict[str, tuple[str, ...]]  # name -> script and further arguments
    takes: str = "onnx"


TOOLS = (
    Tool(
        name="olive",
        packages=("olive-ai==0.13.0", "requests", TORCH, *RUNTIME),
        ways={
            "Olive OnnxStaticQuantization": ("olive_static.py",),
            "Olive auto-opt int8": ("olive_command.py", "auto-opt", "--device", "cpu", "--precision", "int8"),
            "Olive quantize rtn int4": ("olive_command.py", "quantize", "--algorithm", "rtn", "--precision", "int4"),
        },
    ),
    Tool(name="nncf", packages=("nncf==3.4.0", *RUNTIME), ways={"nncf quantize (onnx)": ("nncf_ptq.py",)}),
    Tool(
        name="neural-compressor",
        packages=("neural-compressor[pt]==3.10", "accelerate", "safetensors", TORCH, *RUNTIME),
        ways={
            "Neural Compressor static (torch)": ("inc_torch.py", "static"),
            "Neural Compressor RTN int4 (torch)": ("inc_torch.py", "rtn"),
        },
        takes="torch",
    ),
)


def main() -> int:
    """Prints the tables."""
    options = _options()
    cache = Path(options.cache).expanduser().resolve()
    found: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as name:
        for template in options.template:
            with yardstick(template, [options.target], cache, options.samples, Path(name)) as stick:
                rows = list(_rows(stick, Path(name), cache, options.without))
            found[template] = rows
            print(f"\n## {template}\n\n{markdown(rows, [options.target])}", flush=True)
    if options.json:
        plain = {template: [asdict(row) for row in rows] for template, rows in found.items()}
        Path(options.json).write_text(json.dumps(plain, indent=1) + "\n")
    return 0


def _rows(stick: Yardstick, folder: Path, cache: Path, without: Sequence[str]) -> Iterator[Row]:
    yield from floats(stick)
    yield from plain_defaults(stick, folder)
    calibration = folder / "calibration.npz"
    np.savez(calibration, **{name: array[:_CALIBRATED] for name, array in stick.calibration().items()})
    plain = folder / "float.onnx"  # tools look at the ending, which files of the store have not
    shutil.copyfile(stick.parent("onnx"), plain)
    for tool in TOOLS:
        if tool.name in without:
            continue
        python = _installed(tool, cache)
        source = plain if tool.takes == "onnx" else stick.torch_folder(folder / "torch")
        for way, arguments in tool.ways.items():
            yield tried(way, tool.name, partial(_made, stick, python, way, arguments, source, calibration, folder))
    yield from presets(stick)


def _made(
    stick: Yardstick, python: Path, way: str, arguments: Sequence[str], source: Path, calibration: Path, folder: Path
) -> Weighed:
    done = folder / f"{len(list(folder.iterdir()))}.onnx"
    script, *more = arguments
    paths = os.pathsep.join((str(ROOT / "toolchain"), str(ROOT / "runtimes" / "linux")))
    environment = {**os.environ, "PYTHONPATH": paths, "OLIVE_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"}
    command = [str(python), str(SCRIPTS / script), str(source), str(calibration), str(done), *more]
    ran = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False, cwd=folder
    )
    if ran.returncode or not done.is_file():
        words = [line for line in (ran.stderr or ran.stdout).splitlines() if line.strip()]
        raise RuntimeError(words[-1] if words else f"exit status {ran.returncode} and no word")
    return stick.weigh(way, done, "onnx")


def _installed(tool: Tool, cache: Path) -> Path:
    """The Python of the tool's environment, made if it is not there."""
    place = cache / "rivals" / tool.name
    python = place / "bin" / "python"
    if not (place / "whole").is_file():
        print(f"  installing {tool.name}", file=sys.stderr)
        shutil.rmtree(place, ignore_errors=True)
        venv.create(place, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *tool.packages], check=True)
        (place / "whole").touch()
    return python


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--template", nargs="+", default=["vae", "autoregressive", "classifier"])
    parser.add_argument("--target", default="raspberrypi5")
    parser.add_argument("--samples", type=int, default=256, help="held-out inputs")
    parser.add_argument("--cache", default="~/.cache/edgegen-benchmarks", help="folder of stages and environments")
    parser.add_argument("--without", nargs="*", default=[], choices=[tool.name for tool in TOOLS])
    parser.add_argument("--json", help="file that gets the figures")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
