"""Compiles the two programs of ours that emulation needs: the guest's runner and the counting plugin.

Both are keyed by their sources, so a compiled one is used until its sources change, whichever compiler made it.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgegen.core.digests import sha256_file, sha256_json, sha256_tree
from edgegen.core.errors import ToolMissingError
from edgegen.core.share import share_dir
from edgegen.devices.qemu_user import debs
from edgegen.devices.qemu_user.guests import Guest
from edgegen.devices.qemu_user.toolbox import Tool, Toolbox, run_tool

RUNNER = "eg-runner"
PLUGIN = "libegcount.so"

_WARNINGS = ("-Wall", "-Wextra", "-Wconversion")
_RUNNER_FLAGS = ("-std=c99", "-O2", *_WARNINGS)
_PLUGIN_FLAGS = ("-std=gnu99", "-O2", *_WARNINGS, "-fvisibility=hidden", "-shared", "-fPIC")
# The machine's own libc runs the compiler; sanitizers and the like are not linked.
_CROSS_SKIP = re.compile(r"libc6|libgcc-s1|libstdc\+\+6|gcc-\d+-base|lib(a|l|t|ub|hwa)san\d*.*|lib(gomp|itm|atomic)1.*")
_CROSS_DROP = re.compile(r"usr/share/(doc|man|locale|lintian)/|.*/(lto1|lto-dump|[a-z0-9-]+-lto-dump.*)$")
_COMPILE_TIMEOUT_S = 180.0


def runner_key(guest: Guest) -> str:
    """Key of the runner: its sources, flags and architecture."""
    return _key(share_dir("runtimes") / "linux" / "runner", (*_RUNNER_FLAGS, *guest.flags, guest.system))


def plugin_key() -> str:
    """Key of the plugin: its sources and flags."""
    return _key(share_dir("runtimes") / "emulator", _PLUGIN_FLAGS)


def _key(sources: Path, flags: Sequence[str]) -> str:
    return sha256_json({"sources": sha256_tree(sources, (".c", ".h")), "flags": list(flags)})


def host_compiler() -> Sequence[str] | None:
    """A C compiler for this machine: cc, gcc or clang, else the ziglang package; None if there is none."""
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    return _zig() if has_zig() else None


def has_zig() -> bool:
    """Whether the Python package ziglang, a C cross compiler, is installed."""
    return importlib.util.find_spec("ziglang") is not None


def has_cross_compiler(guest: Guest) -> bool:
    """Whether a compiler for the guest is on PATH."""
    return shutil.which(guest.compiler) is not None


def _zig() -> Sequence[str]:
    return [sys.executable, "-m", "ziglang", "cc"]


def ensure_plugin(toolbox: Toolbox) -> Tool:
    """The plugin as a shared library of this machine.

    Raises:
        ToolMissingError: no C compiler, or it fails.
    """
    sources = share_dir("runtimes") / "emulator"

    def make(folder: Path) -> Mapping[str, str]:
        compiler = host_compiler()
        if compiler is None:
            raise ToolMissingError(
                "no C compiler for the counting plugin",
                expected="cc, gcc or clang on PATH, or the Python package ziglang",
                next_step="apt install gcc, or pip install ziglang",
            )
        undefined = ["-Wl,--allow-shlib-undefined", "-Wl,-z,undefs"] if "ziglang" in compiler else []
        _compile([*compiler, *_PLUGIN_FLAGS, *undefined], sources, folder / PLUGIN, [], None)
        return {"sha256": sha256_file(folder / PLUGIN), "compiler": Path(compiler[0]).name}

    return toolbox.ensure("plugin", plugin_key(), make)


def ensure_runner(toolbox: Toolbox, apt: debs.Apt, guest: Guest) -> Tool:
    """The runner as a program of the guest: by the cross compiler on PATH, else a fetched one, else ziglang.

    Raises:
        ToolMissingError: none of the three is to be had.
    """
    sources = share_dir("runtimes") / "linux" / "runner"

    def make(folder: Path) -> Mapping[str, str]:
        target, flags = folder / RUNNER, (*_RUNNER_FLAGS, *guest.flags)
        if has_cross_compiler(guest):
            _compile([guest.compiler, *flags], sources, target, ["-ldl"], None)
            made_by = guest.compiler
        elif has_zig() and (toolbox.offline or not debs.available()):
            _compile([*_zig(), "-target", guest.zig_target, *flags], sources, target, ["-ldl"], None)
            made_by = "ziglang"
        else:
            made_by = _compile_with_fetched(toolbox, apt, guest, target)
        return {"sha256": sha256_file(target), "compiler": made_by}

    return toolbox.ensure("runner", runner_key(guest), make)


def ensure_host_runner(toolbox: Toolbox) -> Tool:
    """The runner as a program of this machine's own kind.

    Raises:
        ToolMissingError: no C compiler, or it fails.
    """
    sources = share_dir("runtimes") / "linux" / "runner"
    key = _key(sources, (*_RUNNER_FLAGS, "host", platform.machine()))

    def make(folder: Path) -> Mapping[str, str]:
        compiler = host_compiler()
        if compiler is None:
            raise ToolMissingError(
                "no C compiler for the runner on this machine", next_step="apt install gcc, or pip install ziglang"
            )
        _compile([*compiler, *_RUNNER_FLAGS], sources, folder / RUNNER, ["-ldl"], None)
        return {"sha256": sha256_file(folder / RUNNER), "compiler": Path(compiler[0]).name}

    return toolbox.ensure("runner", key, make)


def _compile_with_fetched(toolbox: Toolbox, apt: debs.Apt, guest: Guest, target: Path) -> str:
    """Fetches Debian's cross compiler for this one use: it is 110 MB that nobody needs afterwards."""
    sources, driver = share_dir("runtimes") / "linux" / "runner", re.compile(rf"{guest.compiler}-\d+")
    with toolbox.scratch("cross") as root:
        versions = apt.unpack(
            guest.cross_packages, root, skip=_CROSS_SKIP, keep=lambda path: not _CROSS_DROP.match(path)
        )
        drivers = sorted(path for path in (root / "usr/bin").iterdir() if driver.fullmatch(path.name))
        if not drivers:
            raise ToolMissingError("the fetched packages hold no cross compiler", got=", ".join(sorted(versions)))
        # Relocatable: it finds its parts beside itself, and --sysroot makes the linker scripts' paths relative to it.
        libraries = ":".join(str(root / folder) for folder in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"))
        environment = dict(os.environ) | {"LD_LIBRARY_PATH": libraries, "LC_ALL": "C"}
        _compile(
            [str(drivers[-1]), f"--sysroot={root}", *_RUNNER_FLAGS, *guest.flags],
            sources,
            target,
            ["-ldl"],
            environment,
        )
        package = drivers[-1].name.removeprefix(f"{guest.triple}-") + f"-{guest.triple}"
        return f"{drivers[-1].name} {versions.get(package, '')}"


def _compile(
    command: Sequence[str], sources: Path, target: Path, libraries: Sequence[str], env: Mapping[str, str] | None
) -> None:
    names = [path.name for path in sorted(sources.glob("*.c"))]
    run_tool(
        [*command, "-o", str(target), *names, *libraries],
        what=f"cannot compile {target.name}",
        next_step="report this with the compiler's name and version",
        cwd=sources,
        env=env,
        timeout_s=_COMPILE_TIMEOUT_S,
    )
