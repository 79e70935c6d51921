"""The cross compilers for microcontrollers: the one on PATH, else Debian's, fetched without root."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgegen.core.digests import sha256_json
from edgegen.core.errors import ToolMissingError
from edgegen.devices.qemu_user import debs
from edgegen.devices.qemu_user.toolbox import Toolbox, run_tool

_PROBE_TIMEOUT_S = 20.0
_VERSION = re.compile(r"\b(\d+\.\d+\.\d+)\b")
_LIBRARIES = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")
# The machine's own C library runs the compiler.
_SKIP = re.compile(r"libc6|libgcc-s1|gcc-\d+-base|libstdc\+\+6")
_DROP = re.compile(
    r"usr/share/|.*/(cc1plus|lto1|lto-dump|g\+\+-mapper-server|plugin/.*|install-tools/.*|libstdc\+\+.*|libsupc\+\+.*"
    r"|[^/]*_nano\.a|librdimon.*|libgloss.*|libg\.a|libgcov\.a)$"
    r"|.*/include/c\+\+/|usr/bin/.*-(g\+\+|c\+\+|lto-dump|gcov.*)(-\d.*)?$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One architecture's compiler and where Debian has it."""

    triple: str
    packages: tuple[str, ...]
    libc: tuple[str, ...]  # flags that choose the C library
    multilibs: re.Pattern[str]  # folders of libraries for cores that are no microcontroller's
    links: Mapping[str, str] = field(default_factory=dict)  # that the package's script would make
    fetched_libc: tuple[str, ...] = ()  # the flags of a fetched C library; USR stands for where it lies

    @property
    def program(self) -> str:
        """The compiler's name."""
        return f"{self.triple}-gcc"


FAMILIES: Mapping[str, Family] = {
    "arm": Family(
        triple="arm-none-eabi",
        packages=("gcc-arm-none-eabi", "libnewlib-arm-none-eabi"),
        libc=(),
        multilibs=re.compile(r"usr/lib/.*/(arm/|thumb/(nofp|v7[/+]|v7-[ar]|v7ve|v8-a)|[^/]*/?softfp/).*"),
        links={"usr/lib/arm-none-eabi/lib": "newlib", "usr/lib/arm-none-eabi/include": "../../include/newlib"},
    ),
    "riscv32": Family(
        triple="riscv64-unknown-elf",
        packages=("gcc-riscv64-unknown-elf", "picolibc-riscv64-unknown-elf"),
        libc=("--specs=picolibc.specs",),
        multilibs=re.compile(r"usr/lib/.*/(rv64|rv32e|rv32[a-z]*f|release/|debug/)[^/]*/.*"),
        fetched_libc=("--specs=USR/lib/picolibc/riscv64-unknown-elf/picolibc.specs", "--picolibc-prefix=USR"),
    ),
}
"""Guest architecture of ``SYSTEM_OF_ISA`` -> its compiler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiler:
    """A usable cross compiler with its C library."""

    program: str
    flags: tuple[str, ...]  # that choose the C library
    env: Mapping[str, str]
    version: str


def find_compiler(toolbox: Toolbox, system: str) -> Compiler | None:
    """The compiler on PATH if it has a C library, else the one that was fetched before; touches nothing."""
    return _on_path(FAMILIES[system]) or _fetched(toolbox, system)


def ensure_compiler(toolbox: Toolbox, apt: debs.Apt, system: str) -> Compiler:
    """The compiler of ``find_compiler``, else Debian's, unpacked into the cache.

    Raises:
        ToolMissingError: none to be had.
    """
    found = find_compiler(toolbox, system)
    if found is not None:
        return found
    family = FAMILIES[system]
    toolbox.progress.say(f"no {family.program} with a C library on PATH: fetching one")

    def make(folder: Path) -> Mapping[str, str]:
        versions = apt.unpack(family.packages, folder, skip=_SKIP, keep=lambda path: _wanted(family, path))
        for link, target in family.links.items():
            (folder / link).symlink_to(target)
        return dict(versions)

    tool = toolbox.ensure(f"gcc-{system}", _key(family), make)
    return _from_folder(family, tool.folder)


def next_step(system: str) -> str:
    """What a person installs to have the compiler."""
    return f"apt install {' '.join(FAMILIES[system].packages)}"


def _key(family: Family) -> str:
    return sha256_json({"layout": 2, "packages": list(family.packages)})


def _wanted(family: Family, path: str) -> bool:
    return not _DROP.match(path) and not family.multilibs.match(path)


def _on_path(family: Family) -> Compiler | None:
    program = shutil.which(family.program)
    return None if program is None else _probe(program, family.libc, dict(os.environ) | {"LC_ALL": "C"})


def _fetched(toolbox: Toolbox, system: str) -> Compiler | None:
    family = FAMILIES[system]
    tool = toolbox.find(f"gcc-{system}", _key(family))
    return None if tool is None else _from_folder(family, tool.folder)


def _from_folder(family: Family, folder: Path) -> Compiler:
    program = str(folder / "usr" / "bin" / family.program)
    libraries = ":".join(str(folder / name) for name in _LIBRARIES)
    env = dict(os.environ) | {"LC_ALL": "C", "LD_LIBRARY_PATH": libraries}
    found = _probe(program, tuple(flag.replace("USR", f"{folder}/usr") for flag in family.fetched_libc), env)
    if found is None:
        raise ToolMissingError(
            "the fetched cross compiler has no C library",
            where=program,
            next_step=f"remove {folder} and repeat, or {family.program} from your distribution",
        )
    return found


def _probe(program: str, libc: tuple[str, ...], env: Mapping[str, str]) -> Compiler | None:
    """None where it cannot preprocess C of a hosted program: then it has no C library."""
    try:
        text = run_tool([program, "--version"], what="", next_step="", env=env, timeout_s=_PROBE_TIMEOUT_S)
        run_tool(
            [program, *libc, "-include", "math.h", "-include", "string.h", "-E", "-x", "c", "/dev/null"],
            what="",
            next_step="",
            env=env,
            timeout_s=_PROBE_TIMEOUT_S,
        )
    except ToolMissingError:
        return None
    found = _VERSION.search(text.splitlines()[0]) if text else None
    return None if found is None else Compiler(program=program, flags=libc, env=env, version=found[1])
