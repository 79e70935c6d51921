"""A guest with a Python interpreter, for a runtime that exists as a Python package only."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from edgegen.core.digests import sha256_file, sha256_json, sha256_tree
from edgegen.core.errors import BuildError, ToolMissingError
from edgegen.core.records import write_record
from edgegen.core.share import share_dir
from edgegen.devices.qemu_user import debs, wheels
from edgegen.devices.qemu_user.debian_guest import PythonPackages
from edgegen.devices.qemu_user.guests import Guest
from edgegen.devices.qemu_user.toolbox import Tool, Toolbox

SCRIPT = "eg_python_guest.py"
LIBRARIES = "lib"
HOME = "usr"
PROGRAM = "usr/bin/python3.11"
MODULES = "usr/lib/python3/dist-packages"
_LAYOUT = 1
_NONE = re.compile("(?!)")
# Of the standard library and numpy what a runtime never needs is left out.
_DROP = re.compile(
    r".*/(tests?|idlelib|tkinter|unittest|distutils|ensurepip|lib2to3|pydoc_data|f2py)/|.*/sitecustomize\.py$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonGuest:
    """Where the interpreter and what it runs lie."""

    folder: Path  # HOME, LIBRARIES, MODULES under it
    script: Path
    driver: Path  # the package edgegen_runtime
    versions: Mapping[str, str]


def key_of(guest: Guest, wanted: PythonPackages) -> str:
    """Key of the interpreter and the runtime: changes with what is asked for."""
    return sha256_json({"layout": _LAYOUT, "guest": guest.system, "packages": write_record(wanted)})


def tool_name(guest: Guest) -> str:
    """Name of the tool."""
    return f"guest-python-{guest.system}"


def ensure_python(toolbox: Toolbox, guest: Guest, wanted: PythonPackages) -> PythonGuest:
    """Debian's interpreter and numpy for the guest, and the runtime's wheel.

    Raises:
        ToolMissingError: offline, not a Debian machine, or the packages are not to be had.
        IntegrityError: the wheel is not the pinned one.
    """
    tool = toolbox.ensure(tool_name(guest), key_of(guest, wanted), lambda folder: _make(toolbox, guest, wanted, folder))
    return PythonGuest(
        folder=tool.folder,
        script=share_dir("runtimes") / "linux" / "runner" / SCRIPT,
        driver=_driver(),
        versions=_versions(tool, wanted),
    )


def _versions(tool: Tool, wanted: PythonPackages) -> Mapping[str, str]:
    script = share_dir("runtimes") / "linux" / "runner" / SCRIPT
    return {
        wanted.runtime: wanted.wheel.version,
        "guest-python": tool.facts["sha256"],
        "guest-script": sha256_file(script),
        "edgegen_runtime": sha256_tree(_driver(), (".py",)),
    }


def _driver() -> Path:
    found = find_spec("edgegen_runtime")
    if found is None or found.origin is None:
        raise ToolMissingError("the package 'edgegen_runtime' is missing", next_step="reinstall edgegen")
    return Path(found.origin).parent


def _make(toolbox: Toolbox, guest: Guest, wanted: PythonPackages, folder: Path) -> Mapping[str, str]:
    libraries = re.compile(rf"(usr/)?lib/{guest.triple}/([a-z]+/)?[^/]*\.so[^/]*$")
    modules = re.compile(rf"{PROGRAM}$|usr/lib/python3\.11/|{MODULES}/numpy/")

    def keep(path: str) -> bool:
        return bool(libraries.match(path) or (modules.match(path) and not _DROP.match(path)))

    with debs.Apt(toolbox, debs.Foreign(architecture=guest.debian, suite=wanted.suite)) as apt:
        versions = apt.unpack(wanted.packages, folder, skip=_NONE, keep=keep)
    _flatten(folder, guest)
    wheel = wheels.download(toolbox, wanted.wheel, folder)
    try:
        with zipfile.ZipFile(wheel) as archive:
            # The wheel's digest is the pinned one, so its names are known.
            archive.extractall(
                folder / MODULES, [name for name in archive.namelist() if name.startswith(wanted.module)]
            )
    except zipfile.BadZipFile as error:
        raise BuildError("a wheel cannot be unpacked", where=wheel.name, got=error) from error
    shutil.rmtree(wheel.parent)
    return dict(versions) | {"sha256": sha256_tree(folder)}


def _flatten(folder: Path, guest: Guest) -> None:
    """All libraries into one folder: alternatives such as numpy's blas lie in folders that no script links here."""
    target = folder / LIBRARIES
    found = [path for path in folder.rglob("*.so*") if guest.triple in path.parts]
    files = {path.name: path.resolve() for path in sorted(found) if path.resolve().is_file()}
    for name, path in files.items():
        shutil.copyfile(path, folder / f".{name}")
    for place in ("lib", f"usr/lib/{guest.triple}"):
        shutil.rmtree(folder / place, ignore_errors=True)
    target.mkdir()
    for name in files:
        (folder / f".{name}").rename(target / name)
