"""``edgegen compare --layers``: two files, or one file on two machines, tensor by tensor."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.artifacts.bundle import write_documents
from edgegen.bench.layers import Shared, compare_tensors, layers_document
from edgegen.core.cache import Cache
from edgegen.core.errors import BuildError, ToolMissingError, UsageError
from edgegen.core.ports import Progress, Silent, Tensors
from edgegen.core.project import Project, project_folder
from edgegen.core.targets import load_target
from edgegen.devices.device import DeviceSettings
from edgegen.export.golden import GOLDEN_ARRAYS
from edgegen.export.wiring import QUANTIZERS, Operator, Wiring, read_wiring, signature_tensors
from edgegen.pipeline.model import load_inputs
from edgegen.pipeline.on_target import on_target
from edgegen.pipeline.operands import Operand, ProjectCandidates, find_operand, golden_inputs

if TYPE_CHECKING:
    import numpy as np

PAGE, DOCUMENT = "layers.html", "layers.json"
# What quantizers append to a tensor's name: what holds integers, what was there before, and what is read after.
_INTEGERS, _BEFORE, _AFTER = "_QuantizeLinear_Output", "_QuantizeLinear_Input", "_DequantizeLinear_Output"
_LITERT_QUANTIZERS = frozenset({"QUANTIZE", "DEQUANTIZE"})
_FAITHFUL_RATIO = 1e-4  # of the output's span: more than float sums in another order come to


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersCompared:
    """What was found out; ``folder`` holds the page, None where there was no place for it."""

    document: Mapping[str, Any]
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where files run."""

    kernels: str  # what people call it
    run: Any  # (path, format, inputs) -> outputs


def compare_layers(
    old: str,
    new: str | None = None,
    *,
    target: str | None = None,
    project: Project | Path | None = None,
    on_host: bool = False,
    inputs: Path | None = None,
    samples: int = 8,
    threshold_db: float = 20.0,
    device: str | None = None,
    offline: bool = False,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> LayersCompared:
    """Runs two files with every inner tensor as an output, and says where they begin to differ.

    Args:
        old, new: see ``operands.find_operand``; without ``new``, ``old`` on this host and on the target's core.
        on_host: run both here, also where a target is named.
        inputs: an .npz by input name; None: golden vectors beside the files, else a project's calibration inputs.
        threshold_db: SQNR below which a tensor counts as off.
        out: folder for the page; None is ``build/<target or compare>/`` in the working folder.

    Raises:
        EdgegenError: whatever is wrong with the files, the project or the target.
    """
    cache, progress = cache or Cache(), progress or Silent()
    if new is None and (target is None or on_host):
        raise UsageError(
            "one file alone is compared between this host and a target's core",
            where="edgegen compare --layers",
            expected="a second file, or --target without --host",
        )
    cache.sweep()
    with cache.in_use(), ExitStack() as stack:
        candidates = ProjectCandidates(target, project, device, overrides, cache, progress)
        first = find_operand(old, candidates.named)
        second = first if new is None else find_operand(new, candidates.named)
        if first.format != second.format:
            raise UsageError(
                "the two are of different formats, whose tensors have no names in common",
                got=f"{first.format} and {second.format}",
                expected="two files of one format",
            )
        here = _host()
        there = here
        if target is not None and not on_host:
            settings = DeviceSettings(cache=cache.root, offline=offline, progress=progress)
            there = stack.enter_context(_target(target, device, first.format, settings))
        rows = [_some(_inputs(side, other, inputs), samples) for side, other in ((first, second), (second, first))]
        with tempfile.TemporaryDirectory() as name:
            sides = _Side(first, here if new is None else there, rows[0]), _Side(second, there, rows[1])
            document = _compared(*sides, threshold_db, Path(name), progress)
    folder = out or Path.cwd() / "build" / (target or "compare")
    _write(folder, document)
    return LayersCompared(document=document, folder=folder)


# -- where and on what -----------------------------------------------------------------------------------------------


def _host() -> Machine:
    from edgegen.export.golden import host_class
    from edgegen.export.host_runtime import run_on_host

    return Machine(kernels=host_class(), run=run_on_host)


@contextmanager
def _target(name: str, device: str | None, form: str, settings: DeviceSettings) -> Iterator[Machine]:
    """The target's device.

    Raises:
        ToolMissingError: it is not there.
        BuildError: it does not run the format.
    """
    profile = load_target(name, project_folder())
    runtime = profile.runtimes.get(form)
    if runtime is None:
        raise BuildError(f"{profile.name} has no runtime for {form}", expected=", ".join(profile.runtimes))
    with on_target(device or profile.device, profile, settings) as (reached, identity, missing):
        if identity is None:
            raise ToolMissingError("the target is not there", got=missing, next_step="run both here with --host")
        where = f"{identity.core}{', emulated' if identity.emulated else ''}"
        yield Machine(kernels=where, run=lambda path, _, rows: reached.run(path, runtime, rows))


def _inputs(operand: Operand, other: Operand, given: Path | None) -> Tensors:
    """What a file is run on: its own inputs, else those of the file that it is compared with.

    Raises:
        UsageError: there is nothing to run them on.
    """
    if given is not None:
        from edgegen.data.npz import read_npz

        return read_npz(given)
    drawn = operand.calibration or other.calibration
    found = golden_inputs(operand) or golden_inputs(other) if drawn is None else load_inputs(drawn)
    if found is None:
        raise UsageError(
            "there are no inputs to run the files on",
            where=f"{operand.name}, {other.name}",
            expected=f"{GOLDEN_ARRAYS} beside one of them, or --inputs FILE.npz (arrays by input name, samples first)",
        )
    return found


def _some(inputs: Tensors, samples: int) -> dict[str, np.ndarray[Any, Any]]:
    return {name: rows[:samples] for name, rows in inputs.items()}


# -- tensor by tensor ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Side:
    operand: Operand
    machine: Machine
    inputs: Tensors

    def plain(self) -> Tensors:
        """The file's own outputs."""
        found: Tensors = self.machine.run(self.operand.path, self.operand.format, self.inputs)
        return found


def _compared(old: _Side, new: _Side, threshold_db: float, work: Path, progress: Progress) -> dict[str, Any]:
    form = old.operand.format
    wirings = [read_wiring(side.operand.path, form) for side in (old, new)]
    names = [shown_tensors(wiring) for wiring in wirings]
    common = [name for name in names[0] if name in names[1]]
    notes: list[str] = []
    values = []
    for number, (side, known) in enumerate(zip((old, new), names, strict=True)):
        folder = work / str(number)
        folder.mkdir()
        wanted = {known[name]: name for name in common}
        given, said = _values(side, list(wanted), folder, progress)
        notes += said
        values.append({wanted[tensor]: array for tensor, array in given.items() if tensor in wanted})
    rows = compare_tensors(_shared(wirings[0], names[0], common), values[0], values[1])
    if not rows:
        raise UsageError(
            "the two files have no inner tensor of one name",
            where=f"{old.operand.name}, {new.operand.name}",
            expected="two files made of one model",
        )
    return layers_document(
        old=old.operand.name,
        new=new.operand.name,
        old_kernels=old.machine.kernels,
        new_kernels=new.machine.kernels,
        format_name=form,
        samples=len(next(iter(old.inputs.values()))),
        threshold_db=threshold_db,
        rows=rows,
        skipped=len(names[0]) - len(rows),
        notes=notes,
    )


def shown_tensors(wiring: Wiring) -> dict[str, str]:
    """A tensor of the float graph -> what stands for it here: the same, or what is read of it after quantization."""
    found: dict[str, str] = {name: name for name in wiring.inputs}
    for operator in wiring.operators:
        for name in operator.outputs:
            if name.endswith(_AFTER):
                found[name.removesuffix(_AFTER)] = name
            elif not name.endswith((_INTEGERS, _BEFORE)) and operator.kind not in _LITERT_QUANTIZERS:
                found.setdefault(name, name)
    return found


def _shared(wiring: Wiring, names: Mapping[str, str], common: Sequence[str]) -> list[Shared]:
    """The common tensors in the first graph's order, each with the common ones that it is made of."""
    wanted, found = set(common), []
    for name in common:
        operator = wiring.maker.get(names[name])
        if operator is not None and operator.kind in QUANTIZERS:
            operator = _before_quantizer(wiring, operator)
        found.append(
            Shared(
                name=name,
                kind=operator.kind if operator else "",
                inputs=tuple(_nearest(wiring, operator.inputs, wanted)) if operator else (),
            )
        )
    return found


def _before_quantizer(wiring: Wiring, operator: Operator) -> Operator | None:
    """The operator whose result these quantizers pass on; None where that is a model's input."""
    found: Operator | None = operator
    while found is not None and found.kind in QUANTIZERS:
        found = wiring.maker.get(found.inputs[0]) if found.inputs else None
    return found


def _nearest(wiring: Wiring, tensors: Sequence[str], wanted: set[str]) -> Iterator[str]:
    """The wanted tensors that these are, or are made of by others that are not wanted."""
    waiting, seen = list(tensors), set[str]()
    while waiting:
        tensor = waiting.pop(0)
        plain = tensor.removesuffix(_AFTER)
        if tensor in seen:
            continue
        seen.add(tensor)
        if plain in wanted:
            yield plain
        elif tensor in wiring.maker:
            waiting.extend(wiring.maker[tensor].inputs)


def _values(
    side: _Side, tensors: Sequence[str], folder: Path, progress: Progress
) -> tuple[dict[str, np.ndarray[Any, Any]], list[str]]:
    """Inner tensors and outputs by name; and what is to be known of them."""
    from edgegen.export.expose import expose

    form, plain = side.operand.format, side.plain()
    found = ends_by_tensor(side.operand.path, form, {**side.inputs, **plain})
    copies = expose(side.operand.path, form, tensors, folder)
    notes, apart = [], 0.0
    for number, copy in enumerate(copies):
        progress.advance(f"inner tensors of {side.operand.name}", number, len(copies))
        given = side.machine.run(copy.path, form, side.inputs)
        apart = max(apart, _apart(plain, given))
        found |= copy.read(given)
    progress.advance(f"inner tensors of {side.operand.name}", len(copies), max(len(copies), 1))
    if apart > _FAITHFUL_RATIO:
        notes.append(
            f"{side.operand.name} on {side.machine.kernels} gives other outputs where its inner tensors are outputs "
            f"too, by {apart:.1e} of their span: what was fused no longer is"
        )
    return found, notes


def ends_by_tensor(path: Path, form: str, ends: Tensors) -> dict[str, np.ndarray[Any, Any]]:
    """A model's inputs or outputs under the names of the graph's own tensors: LiteRT's signature has others."""
    tensors = signature_tensors(path) if form == "litert" else {}
    return {tensors.get(name, name): array for name, array in ends.items()}


def _apart(plain: Tensors, given: Tensors) -> float:
    """Greatest difference between equal outputs of two files, as a part of their span."""
    import numpy as np

    ratios = []
    for name, values in plain.items():
        usable = np.isfinite(values) & np.isfinite(given[name])
        span = float(np.ptp(values[usable])) if usable.any() else 0.0
        difference = np.abs(values.astype(np.float64) - given[name])[usable]
        ratios.append(float(difference.max(initial=0.0)) / (span or 1.0))
    return max(ratios, default=0.0)


def _write(folder: Path, document: Mapping[str, Any]) -> None:
    from edgegen.bench.layers_page import render_layers

    page = render_layers(document).encode()
    plain = (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()
    write_documents(folder, {PAGE: page, DOCUMENT: plain})
