"""How the board looks to a program: /proc/cpuinfo and /sys/devices/system/cpu, and the guest's libraries.

QEMU's user emulation passes the host's own /proc and /sys through. An inference runtime that finds an x86 processor
there crashes or picks the wrong kernels, so files of the board stand before them (``-L``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgegen.core.digests import sha256_json
from edgegen.core.records import write_record
from edgegen.core.targets import Board
from edgegen.devices.qemu_user.toolbox import Tool, Toolbox

GUEST_FOLDER = "/opt/edgegen"
"""Where the guest sees the inference runtimes: the same path on every machine."""

_LAYOUT = 1  # counts up when the files below change


def board_files(board: Board) -> Mapping[str, str]:
    """Path under the guest's root -> content."""
    last = board.cores - 1
    cpus = f"0-{last}\n" if last else "0\n"
    system = "sys/devices/system/cpu"
    files = {
        "proc/cpuinfo": "".join(_cpuinfo(board, core) for core in range(board.cores)),
        f"{system}/possible": cpus,
        f"{system}/present": cpus,
        f"{system}/online": cpus,
        f"{system}/kernel_max": f"{last}\n",
        # Empty, so that the loader does not read the host's.
        "etc/ld.so.cache": "",
        "etc/ld.so.preload": "",
    }
    for core in range(board.cores):
        files |= {
            f"{system}/cpu{core}/topology/physical_package_id": "0\n",
            f"{system}/cpu{core}/topology/core_id": f"{core}\n",
            f"{system}/cpu{core}/topology/core_siblings_list": cpus,
            f"{system}/cpu{core}/topology/cluster_cpus_list": cpus,
            f"{system}/cpu{core}/cpufreq/cpuinfo_max_freq": f"{board.maximum_khz}\n",
            f"{system}/cpu{core}/cpufreq/cpuinfo_min_freq": f"{board.minimum_khz}\n",
        }
    return files


def _cpuinfo(board: Board, core: int) -> str:
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


def root_key(board: Board, libraries: Mapping[str, Path]) -> str:
    """Key of the guest's root: the board's data and where the libraries lie."""
    places = {name: str(path) for name, path in libraries.items()}
    return sha256_json({"layout": _LAYOUT, "board": write_record(board), "libraries": places})


def ensure_root(toolbox: Toolbox, board: Board, system_libraries: Path, libraries: Mapping[str, Path]) -> Tool:
    """The guest's root: the board's files, ``lib`` and the inference runtimes as links.

    Args:
        system_libraries: folder with the loader, libc and libstdc++.
        libraries: file name under GUEST_FOLDER -> library.
    """

    def make(folder: Path) -> Mapping[str, str]:
        for name, content in board_files(board).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content, encoding="utf-8")
        (folder / "lib").symlink_to(system_libraries)
        guest_folder = folder / GUEST_FOLDER.strip("/")
        guest_folder.mkdir(parents=True)
        for name, path in libraries.items():
            (guest_folder / name).symlink_to(path)
        return {"part": board.part}

    return toolbox.ensure("root", root_key(board, {"lib": system_libraries, **libraries}), make)
