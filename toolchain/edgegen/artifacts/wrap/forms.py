"""What a bundle can be wrapped as: one table, imported when used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgegen.core.errors import UsageError
from edgegen.core.lazy import load, nearest

LINUX = ("onnx", "litert", "ort", "pte")
"""Formats whose runtime is a program on a Linux device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One thing that a bundle can be wrapped as."""

    function: str  # "module:function", see the package's docstring
    settings: str  # "module:Record": the options
    formats: tuple[str, ...]  # of bundles that it takes
    help: str
    suffix: str = ""  # of the file that comes out; empty: a folder
    extra: str = ""  # of edgegen, that it needs
    tool: str = ""  # a program that it cannot do without, and the package that has it

    def settings_record(self) -> Any:
        """The class of its options."""
        return load(self.settings, extra=self.extra or None)


_HERE = "edgegen.artifacts.wrap"

FORMS = {
    "deb": Form(
        function=f"{_HERE}.debian:wrap",
        settings=f"{_HERE}.debian:Settings",
        formats=LINUX,
        suffix=".deb",
        help="a Debian package: the model, its bundle and a self-test",
    ),
    "mender": Form(
        function=f"{_HERE}.mender:wrap",
        settings=f"{_HERE}.mender:Settings",
        formats=LINUX,
        suffix=".mender",
        help="a Mender artifact for an update module",
        extra="trust",
    ),
    "rauc": Form(
        function=f"{_HERE}.rauc:wrap",
        settings=f"{_HERE}.rauc:Settings",
        formats=LINUX,
        suffix=".raucb",
        help="a RAUC bundle for a model slot",
        extra="trust",
        tool="rauc rauc",
    ),
    "swupdate": Form(
        function=f"{_HERE}.swupdate:wrap",
        settings=f"{_HERE}.swupdate:Settings",
        formats=LINUX,
        suffix=".swu",
        help="a signed .swu for SWUpdate",
        extra="trust",
    ),
    "wheel": Form(
        function=f"{_HERE}.wheel:wrap",
        settings=f"{_HERE}.wheel:Settings",
        formats=LINUX,
        suffix=".whl",
        help="a Python wheel: from digits_vae import open_model",
    ),
    "mcuboot": Form(
        function=f"{_HERE}.mcuboot:wrap",
        settings=f"{_HERE}.mcuboot:Settings",
        formats=("c", "litert"),
        suffix=".bin",
        extra="mcuboot",
        help="a signed image for MCUboot: a firmware with the model in it, or the model as data",
    ),
    "cmake": Form(
        function=f"{_HERE}.firmware_library:cmake",
        settings=f"{_HERE}.firmware_library:Settings",
        formats=("c",),
        help="C sources as a library for CMake and Make",
    ),
    "arduino": Form(
        function=f"{_HERE}.firmware_library:arduino",
        settings=f"{_HERE}.firmware_library:Settings",
        formats=("c",),
        help="C sources as an Arduino library",
    ),
    "zephyr": Form(
        function=f"{_HERE}.firmware_library:zephyr",
        settings=f"{_HERE}.firmware_library:Settings",
        formats=("c",),
        help="C sources as a Zephyr module",
    ),
    "esp-idf": Form(
        function=f"{_HERE}.firmware_library:esp_idf",
        settings=f"{_HERE}.firmware_library:Settings",
        formats=("c",),
        help="C sources as an ESP-IDF component",
    ),
    "c-header": Form(
        function=f"{_HERE}.c_header:wrap",
        settings=f"{_HERE}.c_header:Settings",
        formats=("c", "litert"),
        suffix=".h",
        help="one C header: weights, kernels and the function that runs them",
    ),
}
"""Name -> form."""


def form_named(name: str) -> Form:
    """The form of that name. Raises UsageError with the nearest one."""
    if name not in FORMS:
        raise UsageError(
            f"a bundle cannot be wrapped as {name!r}{nearest(name, FORMS)}", expected=f"one of {', '.join(FORMS)}"
        )
    return FORMS[name]
