"""Models from elsewhere in every format: LiteRT in float and in 8 bits, torch.export archives, weights of a class."""

from __future__ import annotations

import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgegen
from edgegen.core.cache import Cache
from edgegen.core.digests import sha256_file
from support.hostile_models import RunsCode

pytest.importorskip("litert_torch")

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(12, width), nn.ReLU(), nn.Linear(width, 5))

    def forward(self, x):
        return self.layers(x)
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("formats") / "cache")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same small network as archive, weights and LiteRT file, with samples for it."""
    import torch
    from safetensors.torch import save_file

    from edgegen.export.quiet import quiet

    folder = tmp_path_factory.mktemp("formats") / "files"
    folder.mkdir()
    (folder / "net.py").write_text(NET)
    sys.path.insert(0, str(folder))
    try:
        from net import Net
    finally:
        sys.path.remove(str(folder))
    torch.manual_seed(0)
    model, example = Net(32).eval(), torch.zeros(1, 12)
    save_file(model.state_dict(), folder / "net.safetensors")
    torch.export.save(torch.export.export(model, (example,)), folder / "net.pt2")
    import litert_torch

    with quiet():
        litert_torch.convert(model, (example,)).export(str(folder / "net.tflite"))
    rows = np.random.default_rng(0).standard_normal((24, 12)).astype(np.float32)
    with torch.no_grad():
        right = model(torch.from_numpy(rows)).numpy()
    np.savez(folder / "x.npz", **{"x": rows, "expected/output": right})
    np.savez(folder / "litert.npz", **{"args_0": rows, "expected/output_0": right})
    return folder


def _build(files: Path, kept: Cache, out: Path, **more: Any) -> Any:
    return edgegen.build(target="null", out=out, cache=kept, **more).document


def _found(document: Any, name: str) -> Any:
    return next(item for item in document["candidates"] if item["name"] == name)


def _near(document: Any, name: str) -> bool:
    return bool(_found(document, name)["quality"]["expected"]["max_abs_error_worst5"] < 1e-5)


def test_litert_file_is_built_in_its_own_format(files: Path, kept: Cache, tmp_path: Path) -> None:
    calibration = tmp_path / "c.npz"
    np.savez(calibration, args_0=np.load(files / "litert.npz")["args_0"])
    document = _build(
        files,
        kept,
        tmp_path / "out",
        model=files / "net.tflite",
        calibration=calibration,
        evaluate=files / "litert.npz",
        overrides=('compress.recipes=["float32", "static-int8"]',),
    )
    assert _near(document, "float32@litert")
    assert _found(document, "static-int8@litert")["quality"]["paired"]["sqnr_db_mean"] > 20
    assert _found(document, "float32@onnx")["status"] == "not built"


def test_quantized_litert_file_is_taken_as_it_is(files: Path, kept: Cache, tmp_path: Path) -> None:
    from ai_edge_quantizer import quantizer, recipe

    from edgegen.export.quiet import quiet

    rows = np.load(files / "litert.npz")["args_0"]
    with quiet():
        whole = quantizer.Quantizer(str(files / "net.tflite"))
        whole.load_quantization_recipe(recipe.static_wi8_ai8())
        found = whole.calibrate({"serving_default": [{"args_0": rows[[row]]} for row in range(8)]})
        whole.quantize(found).export_model(str(tmp_path / "q.tflite"), overwrite=True)
    document = _build(
        files,
        kept,
        tmp_path / "out",
        model=tmp_path / "q.tflite",
        overrides=('compress.recipes=["float32", "weight-int8", "rewritten"]', "quality.samples=8"),
    )
    assert document["model"]["quantized"]
    assert document["model"]["inputs"][0]["dtype"] == "int8"
    assert document["chosen"]["files"]
    taken = next(item for item in document["chosen"]["files"] if item["path"] == "model.tflite")
    assert taken["sha256"] == sha256_file(tmp_path / "q.tflite")
    assert "quantized already" in _found(document, "weight-int8@litert")["why_rejected"]
    assert "ships byte for byte as it came" in _found(document, "rewritten@litert")["why_rejected"]


def test_archive_is_built_in_both_formats_with_equal_outputs(files: Path, kept: Cache, tmp_path: Path) -> None:
    document = _build(
        files,
        kept,
        tmp_path / "out",
        model=files / "net.pt2",
        evaluate=files / "x.npz",
        overrides=('compress.recipes=["float32"]',),
    )
    assert _near(document, "float32@onnx")
    assert _near(document, "float32@litert")


def test_weights_of_a_class_are_built(files: Path, kept: Cache, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "edgegen.toml").write_text(
        f'[project]\nname = "mine"\n[model]\nfile = "{files / "net.safetensors"}"\nmodule = "net:Net"\n'
        f'evaluate = "{files / "x.npz"}"\n[model.settings]\nwidth = 32\n[model.shapes]\nx = [1, 12]\n'
        '[compress]\nrecipes = ["float32"]\n[export]\nformats = ["onnx"]\n'
    )
    document = edgegen.build(tmp_path, target="null", cache=kept).document
    assert _near(document, "float32@onnx")
    assert document["model"]["form"] == "safetensors"


def test_archive_with_a_hostile_pickle_runs_nothing_of_it(files: Path, kept: Cache, tmp_path: Path) -> None:
    hostile = pickle.dumps(RunsCode(tmp_path / "ran"))
    with zipfile.ZipFile(files / "net.pt2") as archive, zipfile.ZipFile(tmp_path / "m.pt2", "w") as copy:
        for info in archive.infolist():
            is_pickle = "/data/sample_inputs/" in info.filename
            copy.writestr(info.filename, hostile if is_pickle else archive.read(info))
    document = _build(
        files,
        kept,
        tmp_path / "out",
        model=tmp_path / "m.pt2",
        evaluate=files / "x.npz",
        overrides=('compress.recipes=["float32"]', 'export.formats=["onnx"]'),
    )
    assert _near(document, "float32@onnx")
    assert not (tmp_path / "ran").exists()
