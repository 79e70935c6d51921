"""Golden vectors: inputs, what this host's runtime gives for them, and how near another device must come."""

from __future__ import annotations

import io
import platform
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgegen.core.digests import canonical_json, sha256_file
from edgegen.core.errors import BuildError
from edgegen.core.ports import Tensors
from edgegen.core.records import setting, write_record
from edgegen.export.census import census
from edgegen.export.host_runtime import run_on_host, runtime_of

if TYPE_CHECKING:
    import numpy as np

GOLDEN_ARRAYS, GOLDEN_RECORD = "golden.npz", "golden.json"

_FLOAT_RATIO = 2e-5  # float32 has 6e-8; a few hundred sums in another order, through one sigmoid, stay below this
_INTEGER_STEPS = 8  # rounding that differs by one step in each of a handful of layers
_INTEGER_OPERATORS = frozenset(
    {
        "QuantizeLinear",
        "DynamicQuantizeLinear",
        "ConvInteger",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
        "QUANTIZE",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far an output may lie from the golden one."""

    absolute: float = setting(doc="largest allowed absolute difference of an element", minimum=0)
    reason: str = setting(doc="where the figure comes from")
    from_reference: float | None = setting(None, doc="largest absolute difference from the float model's output here")


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """What ``golden.json`` holds."""

    schema_version: Literal[1] = setting(1, doc="format of this file")
    file: str = setting(doc="the arrays: input/<name> and output/<name>, samples along the first axis")
    sha256: str = setting(doc="digest of the arrays' file")
    samples: int = setting(doc="number of samples", minimum=1)
    runtime: str = setting(doc="runtime and version that gave the outputs")
    origin: str = setting(doc="the machine class that it ran on")
    tolerances: Mapping[str, Tolerance] = setting(doc="by output name")


def golden_vectors(
    path: Path, format_name: str, inputs: Tensors, reference: Tensors | None = None, *, folder: Path | None = None
) -> Golden:
    """Runs the model and writes ``golden.npz`` and ``golden.json`` beside it, or into ``folder``.

    Args:
        reference: the float model's outputs for the same inputs; the largest difference from them is recorded.

    Raises:
        BuildError: an output is NaN or infinite.
    """
    folder = path.parent if folder is None else folder
    outputs = run_on_host(path, format_name, inputs)
    _refuse_non_finite(outputs, path)
    arrays = {f"input/{name}": array for name, array in inputs.items()}
    arrays |= {f"output/{name}": array for name, array in outputs.items()}
    (folder / GOLDEN_ARRAYS).write_bytes(npz_bytes(arrays))
    exact = format_name == "c"
    integer = not exact and _in_integers(path, format_name)
    golden = Golden(
        file=GOLDEN_ARRAYS,
        sha256=sha256_file(folder / GOLDEN_ARRAYS),
        samples=len(next(iter(inputs.values()))),
        runtime=runtime_of(format_name),
        origin=host_class(),
        tolerances={
            name: _tolerance(array, None if reference is None else reference.get(name), integer=integer, exact=exact)
            for name, array in sorted(outputs.items())
        },
    )
    (folder / GOLDEN_RECORD).write_bytes(canonical_json(write_record(golden)))
    return golden


def _refuse_non_finite(outputs: Tensors, path: Path) -> None:
    import numpy as np

    for name, array in outputs.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BuildError(
                f"EG306, the output {name!r} is NaN or infinite",
                where=str(path),
                got=f"{int(np.sum(~np.isfinite(array)))} of {array.size} values",
                next_step="give samples that the model may see; mask with the lowest number that the type has",
            )


def npz_bytes(arrays: Tensors) -> bytes:
    """The arrays as a .npz whose bytes depend on nothing but names and contents."""
    import numpy as np

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system, member.external_attr = 3, 0o644 << 16
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(arrays[name]), version=(1, 0), allow_pickle=False)
            archive.writestr(member, content.getvalue())
    return packed.getvalue()


def host_class() -> str:
    """The class of machine that decides the kernels, e.g. ``host x86_64 with VNNI``.

    x86 kernels without VNNI saturate sums of 8-bit products, so their int8 outputs differ from an ARM core's.
    """
    machine = platform.machine()
    if machine not in ("x86_64", "AMD64"):
        return f"host {machine}"
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return f"host {machine}"
    return f"host {machine} {'with' if '_vnni' in flags else 'without'} VNNI"


def _in_integers(path: Path, format_name: str) -> bool:
    counted = census(path, format_name)
    if _INTEGER_OPERATORS & set(counted.operators):
        return True
    if format_name != "litert":
        return False
    from edgegen.export.litert_file import has_integer_kernels, read_litert

    return has_integer_kernels(read_litert(path))


def _tolerance(
    output: np.ndarray[Any, Any], reference: np.ndarray[Any, Any] | None, *, integer: bool, exact: bool
) -> Tolerance:
    import numpy as np

    highest, lowest = float(np.max(output)), float(np.min(output))
    span = highest - lowest or abs(highest) or 1.0
    apart = None
    if reference is not None and reference.shape == output.shape:
        apart = float(np.max(np.abs(output.astype(np.float64) - reference.astype(np.float64))))
    if exact:
        return Tolerance(
            absolute=0.0,
            reason="none: every build of the sources gives the same bytes on every core",
            from_reference=apart,
        )
    if integer:
        return Tolerance(
            absolute=_INTEGER_STEPS * span / 255,
            reason=f"{_INTEGER_STEPS} steps of 1/255 of the output's range: integer kernels round differently by core",
            from_reference=apart,
        )
    return Tolerance(
        absolute=_FLOAT_RATIO * max(span, 1.0),
        reason=f"{_FLOAT_RATIO:g} of the output's range: float kernels add in different orders by core",
        from_reference=apart,
    )
