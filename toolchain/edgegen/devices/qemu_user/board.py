"""How the board looks to a program: /proc/cpuinfo and /sys/devices/system/cpu, and the guest's libraries.

QEMU's user emulation passes the host's own /proc and /sys through. An inference runtime that finds an x86 processor
there crashes or picks the wrong kernels, so files of the board stand before them (``-L``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from edgegen.core.digests import sha256_json
from edgegen.core.records import write_record
from edgegen.core.targets import Board, Emulator
from edgegen.devices.qemu_user.toolbox import Tool, Toolbox

GUEST_FOLDER = "/opt/edgegen"
"""Where the guest sees the inference runtimes: the same path on every machine."""

_LAYOUT = 2  # counts up when the files below change


def board_files(system: str, board: Board) -> Mapping[str, str]:
    """Path under the guest's root -> content."""
    last = board.cores - 1
    cpus = f"0-{last}\n" if last else "0\n"
    sysfs = "sys/devices/system/cpu"
    files = {
        "proc/cpuinfo": "".join(_CPUINFO[system](board, core) for core in range(board.cores)),
        f"{sysfs}/possible": cpus,
        f"{sysfs}/present": cpus,
        f"{sysfs}/online": cpus,
        f"{sysfs}/kernel_max": f"{last}\n",
        # Empty, so that the loader does not read the host's.
        "etc/ld.so.cache": "",
        "etc/ld.so.preload": "",
    }
    for core in range(board.cores):
        files |= {
            f"{sysfs}/cpu{core}/topology/physical_package_id": "0\n",
            f"{sysfs}/cpu{core}/topology/core_id": f"{core}\n",
            f"{sysfs}/cpu{core}/topology/core_siblings_list": cpus,
            f"{sysfs}/cpu{core}/topology/cluster_cpus_list": cpus,
            f"{sysfs}/cpu{core}/cpufreq/cpuinfo_max_freq": f"{board.maximum_khz}\n",
            f"{sysfs}/cpu{core}/cpufreq/cpuinfo_min_freq": f"{board.minimum_khz}\n",
        }
    return files


def _cpuinfo_arm64(board: Board, core: int) -> str:
    return (
        f"processor\t: {core}\n"
        "BogoMIPS\t: 108.00\n"
        f"Features\t: {' '.join(board.features)}\n"
        f"CPU implementer\t: {board.implementer}\n"
        "CPU architecture: 8\n"
        f"CPU variant\t: {board.variant}\n"
        f"CPU part\t: {board.part}\n"
        f"CPU revision\t: {board.revision}\n\n"
    )


def _cpuinfo_arm(board: Board, core: int) -> str:
    # Linux's 32-bit file differs in a line: cpuinfo takes the architecture from there.
    return _cpuinfo_arm64(board, core).replace("CPU architecture: 8", "CPU architecture: 7")


def _cpuinfo_riscv(board: Board, core: int) -> str:
    return f"processor\t: {core}\nhart\t\t: {core}\nisa\t\t: {board.isa_line}\nmmu\t\t: sv39\n\n"


_CPUINFO: Mapping[str, Callable[[Board, int], str]] = {
    "aarch64": _cpuinfo_arm64,
    "arm": _cpuinfo_arm,
    "riscv64": _cpuinfo_riscv,
}


def root_key(system: str, board: Board, libraries: Mapping[str, Path]) -> str:
    """Key of the guest's root: the board's data and where the libraries lie."""
    places = {name: str(path) for name, path in libraries.items()}
    return sha256_json({"layout": _LAYOUT, "system": system, "board": write_record(board), "libraries": places})


def ensure_root(
    toolbox: Toolbox, emulator: Emulator, board: Board, system_libraries: Path, libraries: Mapping[str, Path]
) -> Tool:
    """The guest's root: the board's files, ``lib`` and the inference runtimes as links.

    Args:
        system_libraries: folder with the loader, libc and libstdc++.
        libraries: file name under GUEST_FOLDER -> library.
    """

    def make(folder: Path) -> Mapping[str, str]:
        for name, content in board_files(emulator.system, board).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content, encoding="utf-8")
        (folder / "lib").symlink_to(system_libraries)
        guest_folder = folder / GUEST_FOLDER.strip("/")
        guest_folder.mkdir(parents=True)
        for name, path in libraries.items():
            (guest_folder / name).symlink_to(path)
        return {"part": board.part}

    return toolbox.ensure("root", root_key(emulator.system, board, {"lib": system_libraries, **libraries}), make)
