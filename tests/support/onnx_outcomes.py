"""What becomes of a case of the onnx package: built and right, or why not; alone, or many in one model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import edgegen
from edgegen.core.cache import Cache
from edgegen.core.errors import BuildError, EdgegenError, UsageError
from support.onnx_cases import OnnxCase

Run = Callable[[Path, Mapping[str, Any]], Mapping[str, Any]]
"""What a model file gives for its inputs, by output."""

_PLAIN = ('compress.recipes=["float32"]', 'export.formats=["onnx"]', "quality.samples=2")
RULE = re.compile(r"EG\d{3}")
_MOST_TENSORS = 60  # of a batch: the tensor file of an emulated core holds 64
_ROUNDINGS = 4  # of the largest value: more than any case here leaves
_TOGETHER = " + "
RUNTIMES_OWN = frozenset(
    {
        "test_attention_4d_with_past_and_present_qk_matmul_bias_3d_mask_causal",
        "test_attention_4d_with_past_and_present_qk_matmul_bias_4d_mask_causal",
        "test_maxunpool_export_with_output_shape",
        "test_resize_downsample_scales_cubic_align_corners",
        "test_resize_downsample_scales_linear_align_corners",
    }
)
"""Cases that onnxruntime 1.32 answers otherwise than onnx: what ships has to answer as it does."""
WRONG = "wrong: "
"""What begins the outcome of a case that was built and gives what it should not."""


def here(model: Path, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The file's outputs on this machine."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(given)), strict=True))


def outcome(case: OnnxCase, target: str, folder: Path, cache: Cache, run: Run = here) -> str:
    """Empty: built, and the file that ships gives what it has to; else why it was refused, or how it is wrong.

    A traceback of edgegen's is one here too.
    """
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(case.model)
    given = {name: _sampled(array) for name, array in case.inputs.items()} if case.plain else {}
    right = _right(case) if case.plain else {}
    expected = {f"expected/{name}": array for name, array in right.items()} if _are_samples(right) else {}
    np.savez(folder / "evaluate.npz", **given, **expected)
    try:
        result = edgegen.build(
            model=folder / "model.onnx",
            evaluate=folder / "evaluate.npz" if given and _are_samples(given) else None,
            target=target,
            out=folder / "out",
            overrides=_PLAIN,
            cache=cache,
            jobs=1,
        )
    except (BuildError, UsageError) as error:
        return error.paragraph()
    candidate = result.document["candidates"][0]
    if candidate["status"] == "failed":
        return str(candidate["why_rejected"])
    if not given:
        return f"{WRONG}built, though what goes in or out is no array of numbers"
    try:
        found = run(result.folder / "files" / "model.onnx", given)
    except EdgegenError as error:
        return f"{WRONG}{error.paragraph()}"
    names = case.name.split(_TOGETHER)
    if RUNTIMES_OWN.isdisjoint(names):
        return next(_differences(case, right, found), "")
    return next(_differences(case, _straight(case), found), "")


def outcomes_together(cases: Sequence[OnnxCase], target: str, folder: Path, cache: Cache, run: Run) -> dict[str, str]:
    """As ``outcome`` of every case, by name; those of equal opsets are built as one model, which is halved where it
    is refused or wrong, so that what is said of a case is of it alone."""
    given: dict[str, str] = {}
    for batch in _batches(cases):
        given |= _halved(batch, target, folder, cache, run)
    return given


def _halved(cases: Sequence[OnnxCase], target: str, folder: Path, cache: Cache, run: Run) -> dict[str, str]:
    place = folder / f"{cases[0].name}-{len(cases)}"
    if len(cases) == 1:
        return {cases[0].name: outcome(cases[0], target, place, cache, run)}
    if not outcome(joined(cases), target, place, cache, run):
        return dict.fromkeys((case.name for case in cases), "")
    half = len(cases) // 2
    return _halved(cases[:half], target, folder, cache, run) | _halved(cases[half:], target, folder, cache, run)


def joined(cases: Sequence[OnnxCase]) -> OnnxCase:
    """One case of many with equal opsets: their graphs side by side."""
    parts = []
    for number, case in enumerate(cases):
        part = onnx.compose.add_prefix(onnx.load_from_string(case.model), f"{number}/")
        parts.append(part)
    graph = onnx.helper.make_graph(
        [node for part in parts for node in part.graph.node],
        "joined",
        [value for part in parts for value in part.graph.input],
        [value for part in parts for value in part.graph.output],
        [tensor for part in parts for tensor in part.graph.initializer],
    )
    graph.sparse_initializer.extend(tensor for part in parts for tensor in part.graph.sparse_initializer)
    model = onnx.helper.make_model(graph, opset_imports=parts[0].opset_import)
    model.ir_version = max(part.ir_version for part in parts)
    model.functions.extend(function for part in parts for function in part.functions)
    return OnnxCase(
        name=_TOGETHER.join(case.name for case in cases),
        model=model.SerializeToString(),
        inputs={f"{number}/{name}": array for number, case in enumerate(cases) for name, array in case.inputs.items()},
        outputs=[array for case in cases for array in case.outputs],
        rtol=max(case.rtol for case in cases),
        atol=max(case.atol for case in cases),
    )


def _batches(cases: Iterable[OnnxCase]) -> Iterator[list[OnnxCase]]:
    alike: dict[Any, list[OnnxCase]] = {}
    for case in cases:
        kind = tuple(sorted((item.domain, item.version) for item in onnx.load_from_string(case.model).opset_import))
        alike.setdefault((kind, case.rtol, case.atol), []).append(case)
    for group in alike.values():
        batch: list[OnnxCase] = []
        for case in group:
            if batch and _tensors([*batch, case]) > _MOST_TENSORS:
                yield batch
                batch = []
            batch.append(case)
        yield batch


def _tensors(cases: Sequence[OnnxCase]) -> int:
    return max(sum(len(case.inputs) for case in cases), sum(len(case.outputs) for case in cases))


def _sampled(array: Any) -> Any:
    """With a sample axis, as a model file is taken in: a first axis of 1 is one already."""
    given = np.asarray(array)
    return given if given.shape[:1] == (1,) else given[None]


def _are_samples(arrays: Mapping[str, Any]) -> bool:
    """Samples are numbers; some cases are about NaN and infinity, or about nothing at all."""
    return all(array.size and np.isfinite(array).all() for array in arrays.values())


def _right(case: OnnxCase) -> dict[str, Any]:
    names = [value.name for value in onnx.load_from_string(case.model).graph.output]
    return {name: _sampled(array) for name, array in zip(names, case.outputs, strict=True)}


def _straight(case: OnnxCase) -> dict[str, Any]:
    """What onnxruntime gives for the case as it is."""
    import onnxruntime

    session = onnxruntime.InferenceSession(case.model, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    found = session.run(names, dict(case.inputs))
    return {name: _sampled(array) for name, array in zip(names, found, strict=True)}


def _differences(case: OnnxCase, right: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    """Outputs beyond the case's tolerance. Of sums that cancel, a few roundings of the output's largest value are
    left: a case's absolute tolerance, made for numbers about 1, does not know how large that is."""
    for name, array in right.items():
        atol = case.atol
        if array.dtype.kind == "f" and np.isfinite(array).any():
            atol = max(atol, _ROUNDINGS * float(np.finfo(array.dtype).eps * np.abs(array[np.isfinite(array)]).max()))
        try:
            np.testing.assert_allclose(found[name], array, rtol=case.rtol, atol=atol)
        except AssertionError as error:
            yield f"{WRONG}{name}: {' '.join(str(error).split())}"


def counted(outcomes: Mapping[str, str]) -> Counter[str]:
    """How many cases came to what: ``right``, ``wrong``, a rule's id, or the first words of another refusal."""

    def kind(reason: str) -> str:
        if not reason or reason.startswith(WRONG):
            return "wrong" if reason else "right"
        rule = RULE.search(reason)
        return rule.group() if rule else reason[:60]

    return Counter(map(kind, outcomes.values()))
