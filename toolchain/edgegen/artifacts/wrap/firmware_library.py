"""A C model as a library for CMake and Make, Arduino, Zephyr or ESP-IDF: one folder, or one zip of it.

Beside the sources lie the bundle's golden vectors as a C header (``src/golden.h``) and what a receiver proves with
which bundle they came from (``edgegen/``; where Arduino wants such things, ``extras/edgegen/``). The sources keep the
bytes that the bundle's manifest names.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgegen.artifacts.wrap.c_sources import golden_of, sources_of
from edgegen.artifacts.wrap.held import Held
from edgegen.artifacts.wrap.naming import plain
from edgegen.artifacts.wrap.order import Made, Tools
from edgegen.artifacts.wrap.origin import origin_files
from edgegen.core.errors import BuildError, UsageError
from edgegen.core.records import setting

_TIMEOUT_S = 900.0
_VERSION = re.compile(r"(0|[1-9]\d{0,8})(?:\.(0|[1-9]\d{0,8}))?(?:\.(0|[1-9]\d{0,8}))?")
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")  # 63 letters are Arduino's limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Options of the forms that are libraries of sources."""

    library: str | None = setting(None, doc="name of the library; else edgegen_ and the bundle's name")
    library_version: str | None = setting(None, doc="version of the library, three numbers; else the bundle's")
    zip: bool = setting(False, doc="one zip instead of a folder")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    paths: tuple[str, ...]  # beginnings of the files that it takes
    lines: tuple[str, ...]  # of README.md's list
    proof: str = "edgegen"  # folder of the bundle's own files
    not_checked: str = ""


_CMAKE = _Layout(paths=("src/", "CMakeLists.txt", "Makefile"), lines=("- Make:", "- CMake:"))
_ARDUINO = _Layout(
    paths=("src/", "library.properties", "examples/"),
    lines=("- Arduino:",),
    proof="extras/edgegen",
    not_checked="arduino-cli is no package of Debian or PyPI; the library keeps its published rules",
)
_ZEPHYR = _Layout(
    paths=("src/", "zephyr/"),
    lines=("- Zephyr:",),
    not_checked="Zephyr's build system is no package of Debian or PyPI; the module keeps its published schema",
)
_ESP_IDF = _Layout(
    paths=("src/", "CMakeLists.txt", "idf_component.yml"),
    lines=("- ESP-IDF:",),
    not_checked="ESP-IDF is no package of Debian or PyPI; the component keeps its published rules",
)


def cmake(bundle: Held, work: Path, settings: Settings, tools: Tools) -> Made:
    """Writes the library for CMake and Make, and builds it once with what is installed here. Raises as ``_made``."""
    return _made(bundle, work, settings, tools, _CMAKE)


def arduino(bundle: Held, work: Path, settings: Settings, tools: Tools) -> Made:
    """Writes a library of Arduino's format 1.5 (recursive). Raises as ``_made``."""
    return _made(bundle, work, settings, tools, _ARDUINO)


def zephyr(bundle: Held, work: Path, settings: Settings, tools: Tools) -> Made:
    """Writes a Zephyr module. Raises as ``_made``."""
    return _made(bundle, work, settings, tools, _ZEPHYR)


def esp_idf(bundle: Held, work: Path, settings: Settings, tools: Tools) -> Made:
    """Writes an ESP-IDF component. Raises as ``_made``."""
    return _made(bundle, work, settings, tools, _ESP_IDF)


def _made(bundle: Held, work: Path, settings: Settings, tools: Tools, layout: _Layout) -> Made:
    """Writes the folder, or the zip.

    Raises:
        UsageError: a name or version that the build systems cannot have.
        IntegrityError: the bundle's C model is none.
        BuildError: cmake, where it is installed, does not build it.
    """
    from edgegen.export.c.layouts import library_files, packed_files

    name = settings.library or "edgegen_" + re.sub(
        r"[^a-z0-9]+", "_", plain(bundle.manifest.name, "name", "--library").lower()
    ).strip("_")
    if not _IDENTIFIER.fullmatch(name):
        raise UsageError(
            "not a library's name", got=name[:80], expected="letters, digits and _", next_step="--library NAME"
        )
    version = library_version(settings.library_version or bundle.manifest.version)
    sources = sources_of(bundle)
    golden = golden_of(bundle, sources)
    texts = library_files(sources, golden, version, name)
    texts["README.md"] = _readme(texts["README.md"], layout)
    files = {
        path: text.encode() for path, text in texts.items() if path == "README.md" or path.startswith(layout.paths)
    }
    files |= {f"{layout.proof}/{path}": data for path, data in origin_files(bundle).items()}
    folder = work / name
    _write(folder, files)
    checked, not_checked = _built(folder, work) if layout is _CMAKE else ((), layout.not_checked)
    path = folder
    if settings.zip:
        path = work / f"{name}.zip"
        path.write_bytes(packed_files({f"{name}/{inner}": data for inner, data in files.items()}))
    return Made(
        path=path,
        checked=checked,
        not_checked=not_checked,
        details={
            "library": name,
            "library_version": version,
            "golden_vectors": 0 if golden is None else golden.vectors,
            "golden_left_out": 0 if golden is None else golden.left_out,
        },
    )


def library_version(text: str) -> str:
    """Three numbers, as Arduino's and ESP-IDF's library managers order them.

    Raises:
        UsageError: a version with anything else in it: two bundles would become one version.
    """
    match = _VERSION.fullmatch(text)
    if match is None:
        raise UsageError(
            "the version has no equal in this form",
            got=repr(text[:80]),
            expected="up to three numbers, as 1.4.0",
            next_step="say another with --library-version",
        )
    return ".".join(part or "0" for part in match.groups())


def _readme(text: str, layout: _Layout) -> str:
    lines = [line for line in text.splitlines() if not line.startswith("- ") or line.startswith(layout.lines)]
    proof = (
        f"`{layout.proof}/` says which bundle this is and who signed it; the sources are the bundle's, byte for byte."
    )
    return "\n".join([*lines, "", proof, ""])


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _built(folder: Path, work: Path) -> tuple[tuple[str, ...], str]:
    """What cmake says of the library, in a scratch folder; nothing of it is run."""
    cmake_program = shutil.which("cmake")
    if cmake_program is None:
        return (), "cmake is not installed (apt install cmake)"
    if shutil.which("cc") is None:
        return (), "no C compiler is installed (apt install gcc)"
    build = work / "cmake-build"
    for arguments in (["-S", str(folder), "-B", str(build)], ["--build", str(build)]):
        try:
            done = subprocess.run(
                [cmake_program, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return (), f"cmake does not come to an end here: {error}"
        if done.returncode != 0:
            words = [line for line in (done.stdout + done.stderr).splitlines() if "rror" in line]
            raise BuildError("cmake does not build the library", where=folder.name, got="; ".join(words[:3]))
    return ("cmake configured it and built it with this host's compiler",), ""
