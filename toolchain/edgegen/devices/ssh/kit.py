"""What is put on a board to run models there: the runner, the inference runtimes, and the C library that they want.

The board's own libraries are not used. So it may have any C library of any age, or none but its shell's, and its
outputs are bit for bit those of the emulated core, which runs the very same files.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from edgegen.core.digests import sha256_file, sha256_json
from edgegen.core.errors import TargetError, ToolMissingError
from edgegen.core.ports import Progress
from edgegen.core.targets import TargetProfile
from edgegen.core.versions import versions
from edgegen.devices.qemu_user import compilers
from edgegen.devices.qemu_user.provision import linux_files
from edgegen.devices.qemu_user.toolbox import Toolbox
from edgegen.devices.ssh.elf import closure, read_needs

RUNNER = compilers.RUNNER
_OWN_FOLDERS = tuple(Path(name) for name in ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64"))
# Runtime -> (package, pattern of its library in it, distribution), as installed on this machine.
_INSTALLED = {
    "onnxruntime": ("onnxruntime", "capi/libonnxruntime.so.*", "onnxruntime"),
    "litert": ("ai_edge_litert", "libLiteRt.so", "ai-edge-litert"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """The files by the names they have on the board."""

    files: Mapping[str, Path]
    digests: Mapping[str, str]  # name -> hex sha256
    loader: str  # name of the program that starts the runner
    runtimes: Mapping[str, str]  # runtime -> name of its library
    versions: Mapping[str, str]  # everything that can change an output

    @property
    def digest(self) -> str:
        """Of all of it."""
        return sha256_json(dict(self.digests))

    def of(self, runtime: str) -> dict[str, Path]:
        """The files that one runtime needs, less those that only others need."""
        others = set(self.runtimes.values()) - {self.runtimes[runtime]}
        return {name: path for name, path in self.files.items() if name not in others}


def make_kit(profile: TargetProfile, cache: Path, *, offline: bool, progress: Progress) -> Kit:
    """The files for boards of ``profile``.

    Raises:
        TargetError: a target that is no Linux machine of a known kind.
        ToolMissingError: something cannot be had here.
        IntegrityError: a download is not the pinned one.
    """
    if profile.emulator is not None:
        found = linux_files(profile, cache, offline=offline, progress=progress)
        return _packed(found.runner, found.runtimes, (found.system,), found.versions)
    if profile.isa == "x86_64":
        return _own_kit(profile, cache, offline=offline, progress=progress)
    raise TargetError(
        f"nothing is known that could be run on a board of {profile.name!r}",
        got=f"isa = {profile.isa!r} and no [emulator]",
        expected="a Linux target: aarch64, armv7l, riscv64 or x86_64",
    )


def _own_kit(profile: TargetProfile, cache: Path, *, offline: bool, progress: Progress) -> Kit:
    """For machines of this machine's own kind: what is installed here."""
    if platform.machine() != profile.isa:
        raise ToolMissingError(
            f"a runner for {profile.isa} is made on a machine of that kind only", got=platform.machine()
        )
    toolbox = Toolbox(cache, offline=offline, progress=progress)
    toolbox.root.mkdir(parents=True, exist_ok=True)
    runner = compilers.ensure_host_runner(toolbox)
    wanted = [name for name in sorted(set(profile.runtimes.values())) if name in _INSTALLED]
    runtimes = {name: library for name in wanted if (library := _installed_library(name)) is not None}
    told = {
        "runner": runner.facts["sha256"],
        "libc": " ".join(platform.libc_ver()),
        **versions([_INSTALLED[name][2] for name in runtimes]),
    }
    return _packed(runner.folder / compilers.RUNNER, runtimes, _OWN_FOLDERS, told)


def _installed_library(runtime: str) -> Path | None:
    package, pattern, _ = _INSTALLED[runtime]
    found = find_spec(package)
    if found is None or found.origin is None:
        return None
    libraries = sorted(Path(found.origin).parent.glob(pattern))
    return libraries[0] if len(libraries) == 1 else None


def _packed(runner: Path, runtimes: Mapping[str, Path], folders: tuple[Path, ...], told: Mapping[str, str]) -> Kit:
    needed = closure([runner, *runtimes.values()], folders)
    files = {**needed, **{path.name: path.resolve() for path in runtimes.values()}, RUNNER: runner}
    return Kit(
        files=files,
        digests={name: sha256_file(path) for name, path in files.items()},
        loader=Path(read_needs(runner).loader).name,
        runtimes={name: path.name for name, path in runtimes.items()},
        versions=told,
    )
