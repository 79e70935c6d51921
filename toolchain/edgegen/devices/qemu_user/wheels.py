"""Inference runtimes for the guest: one shared library out of each pinned wheel."""

from __future__ import annotations

import shutil
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.digests import sha256_file, sha256_json
from edgegen.core.errors import BuildError, IntegrityError, TargetError, ToolMissingError
from edgegen.core.records import read_record, setting, write_record
from edgegen.core.share import share_dir
from edgegen.devices.qemu_user.toolbox import Tool, Toolbox, run_tool


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A pinned wheel and the library in it."""

    distribution: str = setting(doc="name in the package index")
    version: str = setting(doc="exact version")
    python_version: str = setting(doc="Python version of the wheel; only its library is used")
    platforms: tuple[str, ...] = setting(doc="platform tags of the wheel")
    sha256: str = setting(doc="lower-case hex digest of the wheel")
    library: str = setting(doc="path of the shared library inside the wheel")

    @property
    def key(self) -> str:
        """Changes with anything in the pin."""
        return sha256_json(write_record(self))

    @property
    def library_name(self) -> str:
        """File name of the library."""
        return self.library.rsplit("/", 1)[-1]


def read_wheels() -> Mapping[str, Wheel]:
    """Runtime name -> pinned wheel, from ``runtimes/linux/wheels.toml``."""
    path = share_dir("runtimes") / "linux" / "wheels.toml"
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: read_record(Wheel, entry, name, str(path)) for name, entry in table.items() if name != "debian"}


def pinned(runtime: str) -> Wheel:
    """The wheel of a runtime.

    Raises:
        TargetError: no such runtime is emulated.
    """
    wheels = read_wheels()
    if runtime not in wheels:
        raise TargetError(f"the runtime {runtime!r} is not emulated", expected=f"one of {', '.join(wheels)}")
    return wheels[runtime]


def ensure_library(toolbox: Toolbox, runtime: str) -> Tool:
    """The runtime's library, downloaded by pip and digest-checked if it is not there.

    Raises:
        ToolMissingError: offline, no pip, or the package index does not give it.
        IntegrityError: the wheel is not the pinned one.
    """
    wheel = pinned(runtime)
    return toolbox.ensure(f"lib-{runtime}", wheel.key, lambda folder: _make(toolbox, wheel, folder))


def _make(toolbox: Toolbox, wheel: Wheel, folder: Path) -> Mapping[str, str]:
    file = download(toolbox, wheel, folder)
    _extract(wheel, file, folder / wheel.library_name)
    shutil.rmtree(file.parent)
    return {"version": wheel.version, "sha256": sha256_file(folder / wheel.library_name)}


def download(toolbox: Toolbox, wheel: Wheel, folder: Path) -> Path:
    """The wheel, alone in a folder of its own under ``folder``, its digest checked.

    Raises:
        ToolMissingError: offline, no pip, or the package index does not give it.
        IntegrityError: the wheel is not the pinned one.
    """
    what = f"{wheel.distribution} {wheel.version} for {wheel.platforms[0].split('_', 3)[-1]}"
    toolbox.need_network(what)
    toolbox.progress.say(f"downloading {what}")
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.distribution}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"),
        *("--only-binary=:all:", "--no-deps", "--require-hashes", "--implementation", "cp"),
        *("--python-version", wheel.python_version, "--dest", str(folder / "wheel"), "-r", str(requirements)),
        *(f"--platform={name}" for name in wheel.platforms),
    ]
    run_tool(
        command,
        what=f"cannot download {what}",
        next_step="check that pip works here (python -m pip download …) and repeat `edgegen setup TARGET`",
    )
    requirements.unlink()
    files = sorted((folder / "wheel").glob("*.whl"))
    if len(files) != 1:
        raise ToolMissingError(f"pip did not deliver {what}", got=f"{len(files)} wheels", expected="one")
    digest = sha256_file(files[0])
    if digest != wheel.sha256:
        raise IntegrityError("a wheel is not the pinned one", where=files[0].name, got=digest, expected=wheel.sha256)
    return files[0]


def _extract(wheel: Wheel, file: Path, library: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive, archive.open(wheel.library) as source, library.open("wb") as target:
            shutil.copyfileobj(source, target)
    except (KeyError, zipfile.BadZipFile) as error:
        raise BuildError("a wheel does not hold its library", where=file.name, expected=wheel.library) from error
