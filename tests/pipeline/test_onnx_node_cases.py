"""Cases of the onnx package, drawn by seed: each is built and right, or refused for a known reason."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgegen
from edgegen.core.cache import Cache
from edgegen.core.errors import BuildError
from support.onnx_cases import OnnxCase, drawn

_CASES, _SEED, _LEAST_BUILT = 60, 0, 45
_PLAIN = ('compress.recipes=["float32"]', 'export.formats=["onnx"]', "quality.samples=2")
REFUSED = re.compile(
    r"EG\d{3}|the runtime onnxruntime refuses the model|gives its input .* as it is|the shape of .* is not fixed"
)
"""What a whole model may be refused for."""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("cases") / "cache")


def _sampled(array: Any) -> Any:
    """With a sample axis, as a model file is taken in: a first axis of 1 is one already."""
    given = np.asarray(array)
    return given if given.shape[:1] == (1,) else given[None]


def _outcome(case: OnnxCase, folder: Path, cache: Cache) -> str:
    """Empty: built, and the file that ships gives what it has to; else why it was refused."""
    import onnxruntime

    folder.mkdir()
    (folder / "model.onnx").write_bytes(case.model)
    names = [value.name for value in onnx.load_from_string(case.model).graph.output]
    given = {name: _sampled(array) for name, array in case.inputs.items()}
    right = {name: _sampled(array) for name, array in zip(names, case.outputs, strict=True)}
    finite = all(np.isfinite(array).all() for array in right.values())
    expected = {f"expected/{name}": array for name, array in right.items()} if finite else {}
    np.savez(folder / "evaluate.npz", **given, **expected)
    try:
        result = edgegen.build(
            model=folder / "model.onnx",
            evaluate=folder / "evaluate.npz" if given else None,
            target="linux-x86_64",
            out=folder / "out",
            overrides=_PLAIN,
            cache=cache,
            jobs=1,
        )
    except BuildError as error:
        return error.paragraph()
    candidate = result.document["candidates"][0]
    if candidate["status"] == "failed":
        return str(candidate["why_rejected"])
    session = onnxruntime.InferenceSession(result.folder / "files" / "model.onnx", providers=["CPUExecutionProvider"])
    for (name, array), found in zip(right.items(), session.run(list(right), given), strict=True):
        np.testing.assert_allclose(found, array, rtol=case.rtol, atol=case.atol, err_msg=f"{case.name}: {name}")
    return ""


def test_node_cases_are_built_or_refused(kept: Cache, tmp_path: Path) -> None:
    outcomes = {case.name: _outcome(case, tmp_path / case.name, kept) for case in drawn(_CASES, _SEED)}
    odd = {name: reason for name, reason in outcomes.items() if reason and not REFUSED.search(reason)}
    assert odd == {}
    assert sum(not reason for reason in outcomes.values()) >= _LEAST_BUILT
