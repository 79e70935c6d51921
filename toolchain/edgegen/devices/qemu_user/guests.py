"""The guest architectures that are emulated: their compiler, and where their libraries come from.

aarch64's C library is among Debian's cross packages, which every Debian machine can fetch, and its runtimes are wheels.
For the others no wheel of ONNX Runtime exists; Debian builds it, so there all libraries are packages of Debian's
release of that architecture (``runtimes/linux/wheels.toml`` says which).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgegen.core.targets import Emulator


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """One guest architecture."""

    system: str  # QEMU's name
    triple: str  # as GNU and Debian name its libraries' folder
    cross_packages: tuple[str, ...]  # Debian's cross compiler for it
    zig_target: str
    flags: tuple[str, ...] = ()  # of the C compiler
    debian: str = ""  # Debian's name of it, where its libraries come from Debian
    address_space: bool = True  # whether 256 GiB of it can be reserved

    @property
    def program(self) -> str:
        """QEMU's program."""
        return f"qemu-{self.system}"

    @property
    def compiler(self) -> str:
        """GNU's cross compiler."""
        return f"{self.triple}-gcc"


GUESTS: Mapping[str, Guest] = {
    "aarch64": Guest(
        system="aarch64",
        triple="aarch64-linux-gnu",
        cross_packages=("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"),
        zig_target="aarch64-linux-gnu.2.28",
    ),
    "arm": Guest(
        system="arm",
        triple="arm-linux-gnueabihf",
        cross_packages=("gcc-arm-linux-gnueabihf", "libc6-dev-armhf-cross"),
        zig_target="arm-linux-gnueabihf.2.28",
        flags=("-marm",),  # the marks that the plugin looks for are A32 words
        debian="armhf",
        address_space=False,
    ),
    "riscv64": Guest(
        system="riscv64",
        triple="riscv64-linux-gnu",
        cross_packages=("gcc-riscv64-linux-gnu", "libc6-dev-riscv64-cross"),
        zig_target="riscv64-linux-gnu.2.28",
        debian="riscv64",
    ),
}


def guest_of(emulator: Emulator) -> Guest:
    """The guest of an emulator's settings."""
    return GUESTS[emulator.system]
