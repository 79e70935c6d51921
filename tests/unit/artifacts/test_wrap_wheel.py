"""A wheel: its RECORD, its names and versions, and a runtime inside that knows nothing of edgegen's."""

from __future__ import annotations

import ast
import base64
import csv
import hashlib
import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.metadata import Metadata
from packaging.utils import parse_wheel_filename

from edgegen.artifacts.wrap.device_program import moved_runtime_files, runtime_files
from edgegen.core.errors import BuildError, UsageError
from unit.artifacts.signed_bundle import signed
from unit.artifacts.wrapped_bundle import wrapped
from unit.runtime.runnable_bundle import runnable, write_public


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runnable(tmp_path_factory.mktemp("wheel"), "1.2.0-rc.1", "a")


def test_the_wheel_is_one(bundle: Path, tmp_path: Path) -> None:
    made = wrapped("wheel", bundle, tmp_path)
    name, version, _, tags = parse_wheel_filename(made.path.name)
    assert (name, str(version), {str(tag) for tag in tags}) == ("digits-vae", "1.2.0rc1", {"py3-none-any"})
    with zipfile.ZipFile(made.path) as archive:
        about = "digits_vae-1.2.0rc1.dist-info"
        metadata = Metadata.from_email(archive.read(f"{about}/METADATA"))
        assert (metadata.name, metadata.version, str(metadata.requires_python)) == ("digits-vae", version, ">=3.11")
        assert [str(item) for item in metadata.requires_dist or ()] == ["numpy>=1.26", "onnxruntime~=1.32.0"]
        assert made.bundle.digest in (metadata.keywords or [])
        rows = list(csv.reader(io.StringIO(archive.read(f"{about}/RECORD").decode())))
        assert sorted(archive.namelist()) == sorted(row[0] for row in rows)
        for path, digest, size in rows[:-1]:
            data = archive.read(path)
            found = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
            assert (digest, int(size)) == (f"sha256={found}", len(data))
        assert rows[-1] == [f"{about}/RECORD", "", ""]


USE = """
import json, sys
import numpy as np
from digits_vae import BUNDLE, DIGEST, open_model
model = open_model()
assert model.digest == DIGEST
z = np.full((3, 4), 0.5, np.float32)
assert np.allclose(model.run({"z": z})["image"], np.tanh(z), atol=1e-6)
assert model.self_test().samples == 8
assert [port.name for port in model.inputs] == ["z"]
assert model.manifest["target"] == "raspberrypi4"
assert not [name for name in sys.modules if name.split(".")[0] in ("edgegen", "edgegen_runtime")]
blob = model.bundle.files["model.onnx"]
blob.write_bytes(blob.read_bytes()[:-1] + b"x")
try:
    open_model()
except Exception as error:
    assert "not what its digest says" in str(error), error
else:
    raise SystemExit("a changed model was opened")
"""


def unpacked(wheel: Path, to: Path) -> dict[str, Any]:
    """The environment of a Python that has the wheel's files, the libraries of this one and no edgegen."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(to)
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    return {"PYTHONPATH": ":".join([str(to), *libraries]), "PYTHONNOUSERSITE": "1"}


def test_the_module_opens_runs_and_proves_the_model(bundle: Path, tmp_path: Path) -> None:
    environment = unpacked(wrapped("wheel", bundle, tmp_path).path, tmp_path / "site")
    command = [sys.executable, "-S", "-P", "-c"]
    main = "import sys; from digits_vae import main; sys.argv[0] = 'x'; sys.exit(main())"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *words], env=environment, capture_output=True, text=True, check=False, timeout=120
        )

    assert run(main, *write_public(tmp_path, "a")).returncode == 0
    assert run(main, *write_public(tmp_path, "other")).returncode == 6
    used = run(USE)
    assert used.returncode == 0, used.stderr
    assert run(main).returncode == 6  # USE left a changed model


def test_the_runtime_inside_imports_itself_alone() -> None:
    moved = moved_runtime_files("digits_vae.edgegen_runtime")
    assert set(moved) == set(runtime_files())
    for name, data in moved.items():
        for node in ast.walk(ast.parse(data)):
            found = [item.name for item in node.names] if isinstance(node, ast.Import) else []
            found += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [module for module in found if module.split(".")[0] in ("edgegen", "edgegen_runtime")], name
    assert b"from digits_vae.edgegen_runtime.strict import" in moved["trust.py"]


def test_a_wheel_under_another_name_is_refused(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape("digits_vae-1.2.0rc1-py3-none-any.whl")):
        wrapped("wheel", bundle, tmp_path / "model.whl")
    assert not (tmp_path / "model.whl").exists()


@pytest.mark.parametrize(
    ("runtime", "version", "needed"),
    [
        ("litert", "2.3.0", "ai-edge-litert~=2.3.0"),
        ("executorch", "1.5.1+cpu", "executorch~=1.5.1"),
        ("onnxruntime-cuda", "1.33.0", "onnxruntime-gpu~=1.33.0"),
        ("onnxruntime", "own build", "onnxruntime"),
        ("of its own", "1.0.0", None),
        ("x\nRequires-Dist: evil", "1.0.0", None),
    ],
)
def test_the_runtime_is_a_dependency(tmp_path: Path, runtime: str, version: str, needed: str | None) -> None:
    build = signed(tmp_path / "build", tmp_path / "work", "a", runtime=runtime, runtime_version=version)
    if needed is None:
        with pytest.raises(BuildError, match="no distribution"):
            wrapped("wheel", build, tmp_path)
        return
    assert wrapped("wheel", build, tmp_path).made.details["requires"][1] == needed


@pytest.mark.parametrize("text", ["../x", "x\ny", "$(reboot)", "json", "2fast", "class"])
@pytest.mark.parametrize("part", ["name", "distribution", "module"])
def test_names_that_python_cannot_have_are_refused(tmp_path: Path, part: str, text: str) -> None:
    build = signed(tmp_path / "build", tmp_path / "work", "a", **({part: text} if part == "name" else {}))
    with pytest.raises(UsageError):
        wrapped("wheel", build, tmp_path, **({part: text} if part != "name" else {}))
    assert not list(tmp_path.glob("*.whl"))


def test_a_strangers_words_stay_in_their_line(tmp_path: Path) -> None:
    evil = 'raspberrypi4"""\nRequires-Dist: evil\n'
    build = signed(tmp_path / "build", tmp_path / "work", "a", target=evil)
    made = wrapped("wheel", build, tmp_path)
    with zipfile.ZipFile(made.path) as archive:
        metadata = Metadata.from_email(archive.read("digits_vae-0.1.0.dist-info/METADATA"))
        assert len(metadata.requires_dist or ()) == 2
        ast.parse(archive.read("digits_vae/__init__.py"))
