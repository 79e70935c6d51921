"""torch to ONNX and to LiteRT: names, values, bytes, refusals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgegen.core.digests import sha256_file
from edgegen.core.errors import BuildError, ToolMissingError, UsageError
from edgegen.core.models import TensorSpec
from edgegen.export.formats import convert
from edgegen.export.host_runtime import run_on_host
from edgegen.export.onnx_file import nodes, read_onnx
from edgegen.export.signature import read_signature

ENDS = (
    (TensorSpec(name="latent", dtype="float32", shape=(1, 8)),),
    (TensorSpec(name="image", dtype="float32", shape=(1, 1, 16, 16)),),
)

CONVERT = """
import sys
from pathlib import Path
from edgegen.export.formats import convert
convert(Path(sys.argv[1]), Path(sys.argv[2]), form="torch", to=sys.argv[3])
"""


def from_torch(generator: Path, latents: dict[str, np.ndarray]) -> np.ndarray:
    import torch

    from edgegen.train.deployed import load_deployed

    module, _, _ = load_deployed(generator)
    with torch.no_grad():
        return module(torch.from_numpy(latents["latent"])).numpy()


def test_onnx_gives_what_torch_gives(generator: Path, onnx_folder: Path, latents: dict[str, np.ndarray]) -> None:
    path = onnx_folder / "model.onnx"
    assert read_signature(path, "onnx") == ENDS
    image = run_on_host(path, "onnx", latents)["image"]
    assert image.shape == (12, 1, 16, 16)
    np.testing.assert_allclose(image, from_torch(generator, latents), atol=1e-5)


def test_litert_gives_what_torch_gives(generator: Path, litert_folder: Path, latents: dict[str, np.ndarray]) -> None:
    path = litert_folder / "model.tflite"
    assert read_signature(path, "litert") == ENDS
    image = run_on_host(path, "litert", latents)["image"]
    np.testing.assert_allclose(image, from_torch(generator, latents), atol=1e-5)


@pytest.mark.parametrize("form", ["onnx", "litert"])
def test_another_process_in_another_folder_gives_the_same_bytes(
    form: str, generator: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    here = request.getfixturevalue(f"{form}_folder")
    there = tmp_path / "some where" / "else"
    there.mkdir(parents=True)
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", CONVERT, str(generator), str(there), form],
        cwd=there,
        env=environment,
        capture_output=True,
        check=True,
    )
    assert done.stdout == b""
    name = next(there.glob("model.*")).name
    assert sha256_file(there / name) == sha256_file(here / name)


def test_onnx_carries_no_paths_and_no_traces(onnx_folder: Path) -> None:
    model = read_onnx(onnx_folder / "model.onnx")
    assert not model.metadata_props
    assert not model.doc_string
    assert not any(node.metadata_props or node.doc_string for node in nodes(model))
    assert b".py" not in (onnx_folder / "model.onnx").read_bytes()


@pytest.mark.parametrize("form", ["onnx", "litert"])
def test_a_generator_that_draws_is_refused(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    class Drawing(torch.nn.Module):
        def forward(self, latent: torch.Tensor) -> torch.Tensor:
            return latent + torch.randn(1, 8)

    if form == "litert":
        pytest.importorskip("litert_torch")
    monkeypatch.setattr(f"edgegen.export.{form}.load_module", lambda source: (Drawing(), *ENDS))
    with pytest.raises(BuildError, match="latent") as caught:
        convert(tmp_path, tmp_path, form="torch", to=form)
    assert "randn" in caught.value.paragraph()


def test_dropout_that_is_off_is_not_refused() -> None:
    import torch

    from edgegen.export.program import trace

    module = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Dropout(0.5))
    assert trace(module, ENDS[0], "here").graph is not None


def test_what_torch_cannot_trace_is_a_build_error() -> None:
    import torch

    from edgegen.export.program import trace

    class Branching(torch.nn.Module):
        def forward(self, latent: torch.Tensor) -> torch.Tensor:
            return latent if latent.sum() > 0 else -latent

    with pytest.raises(BuildError, match="cannot trace"):
        trace(Branching(), ENDS[0], "here")


def test_a_missing_extra_is_named(generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    with pytest.raises(ToolMissingError, match=r"edgegen\[litert\]"):
        convert(generator, tmp_path, form="torch", to="litert")


def test_an_unknown_road_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="onnx to torch"):
        convert(tmp_path, tmp_path, form="onnx", to="torch")
