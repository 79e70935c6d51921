"""A Python wheel (PEP 427, metadata 2.1): the bundle and a module that opens it, with ``edgegen_runtime`` inside."""

from __future__ import annotations

import base64
import hashlib
import re
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from edgegen.artifacts.wrap.device_program import NAME, moved_runtime_files
from edgegen.artifacts.wrap.held import Held, checked_bytes
from edgegen.artifacts.wrap.naming import dashed, module_name, python_version
from edgegen.artifacts.wrap.order import Made, Tools
from edgegen.artifacts.wrap.origin import layout_files
from edgegen.core.errors import BuildError
from edgegen.core.records import setting

_DISTRIBUTIONS = {"onnxruntime": "onnxruntime", "litert": "ai-edge-litert", "executorch": "executorch"}
_GPU = "onnxruntime-gpu"
_RELEASE = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Options of ``--as wheel``."""

    distribution: str | None = setting(None, doc="name for pip; else the bundle's name")
    module: str | None = setting(None, doc="name for import; else that of the distribution with _ for -")
    package_version: str | None = setting(None, doc="version of the wheel; else the bundle's, as PEP 440 has it")


def wrap(bundle: Held, work: Path, settings: Settings, tools: Tools) -> Made:
    """Writes ``NAME-VERSION-py3-none-any.whl``. Pure: the inference runtime is a dependency, of the proven version.

    Raises:
        UsageError: a name or version that Python cannot have.
        BuildError: the runtime has no distribution.
    """
    manifest = bundle.manifest
    distribution = dashed(settings.distribution or manifest.name, "name", "--distribution").replace(".", "-")
    module = module_name(settings.module or distribution, "--module")
    version = python_version(settings.package_version or manifest.version, "--package-version")
    needs = ["numpy>=1.26", _needed(manifest.runtime, manifest.runtime_version)]
    stem = f"{distribution.replace('-', '_')}-{version}"
    files: dict[str, bytes | Path] = {
        f"{module}/__init__.py": _module(bundle, module),
        **{f"{module}/{NAME}/{name}": data for name, data in moved_runtime_files(f"{module}.{NAME}").items()},
        **{f"{module}/bundle/{name}": content for name, content in layout_files(bundle).items()},
    }
    about = {
        "METADATA": _metadata(bundle, distribution, version, needs),
        "WHEEL": b"Wheel-Version: 1.0\nGenerator: edgegen\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "entry_points.txt": f"[console_scripts]\n{distribution}-selftest = {module}:main\n".encode(),
    }
    files |= {f"{stem}.dist-info/{name}": data for name, data in about.items()}
    path = work / f"{stem}-py3-none-any.whl"
    _write(path, files, f"{stem}.dist-info/RECORD", tools.moment)
    return Made(
        path=path,
        checked=("every file was read back and is what RECORD says",),
        must_be_named=True,
        details={"distribution": distribution, "module": module, "package_version": version, "requires": needs},
    )


def _needed(runtime: str, version: str) -> str:
    name = _GPU if runtime.startswith("onnxruntime-") else _DISTRIBUTIONS.get(runtime)
    if name is None:
        raise BuildError("no distribution has the bundle's runtime", got=runtime, expected=", ".join(_DISTRIBUTIONS))
    match = _RELEASE.match(version)
    # Fixes of the proven release are let in; whether they change an output the golden vectors say.
    return name if match is None else f"{name}~={match.group()}"


def _metadata(bundle: Held, distribution: str, version: str, needs: list[str]) -> bytes:
    manifest = bundle.manifest
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {distribution}",
        f"Version: {version}",
        f"Summary: {_line(f'Model {manifest.name} ({manifest.candidate}), proven for {manifest.target}')}",
        f"Keywords: edgegen,{bundle.digest}",
        "Requires-Python: >=3.11",
        *(f"Requires-Dist: {need}" for need in needs),
    ]
    return ("\n".join(lines) + "\n").encode()


def _line(text: str) -> str:
    return "".join(letter if letter.isprintable() and letter.isascii() else "?" for letter in text)[:300]


def _module(bundle: Held, module: str) -> bytes:
    return f'''"""A model for edge devices: ``open_model()`` checks every byte of it and opens it."""

from __future__ import annotations

import sys
from pathlib import Path

from {module}.{NAME}.__main__ import main as _main
from {module}.{NAME}.packaged import PackagedModel
from {module}.{NAME}.strict import RefusedError

__all__ = ["BUNDLE", "DIGEST", "PackagedModel", "open_model"]

BUNDLE = Path(__file__).parent / "bundle"
"""Core and signatures as an OCI layout."""
DIGEST = "{bundle.digest}"
"""Of the bundle that this was made from."""


def open_model() -> PackagedModel:
    """The model, ready to run: ``open_model().run({{name: array}})``, samples along the first axis."""
    model = PackagedModel(BUNDLE)
    if model.digest != DIGEST:
        raise RefusedError(f"another bundle lies there: {{model.digest}}")
    return model


def main() -> int:
    """Checks every byte and runs the golden vectors here; ``--key release.pub`` asks who signed, too."""
    return _main(["self-test", str(BUNDLE), *sys.argv[1:]])
'''.encode()


def _write(path: Path, files: dict[str, bytes | Path], record: str, moment: int) -> None:
    stamp = time.gmtime(moment)[:6]
    lines = []
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            data = checked_bytes(content, content.name, name) if isinstance(content, Path) else content
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            lines.append(f"{name},sha256={digest},{len(data)}")
            archive.writestr(_info(name, stamp), data, compresslevel=9)
        archive.writestr(_info(record, stamp), "\n".join([*lines, f"{record},,", ""]), compresslevel=9)
    _read_back(path, record)


def _info(name: str, stamp: tuple[int, ...]) -> zipfile.ZipInfo:
    year, month, day, hour, minute, second = stamp
    info = zipfile.ZipInfo(name, (year, month, day, hour, minute, second))
    info.create_system, info.external_attr = 3, 0o100644 << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _read_back(path: Path, record: str) -> None:
    with zipfile.ZipFile(path) as archive:
        lines = [line.rsplit(",", 2) for line in archive.read(record).decode().splitlines()]
        for name, digest, size in lines:
            data = archive.read(name)
            found = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            if name != record and (digest, size) != (f"sha256={found}", str(len(data))):
                raise BuildError("the wheel was not written as it should be", where=name, got=found, expected=digest)
        if sorted(archive.namelist()) != sorted(name for name, _, _ in lines):
            raise BuildError("the wheel's RECORD names other files than it holds", where=path.name)
