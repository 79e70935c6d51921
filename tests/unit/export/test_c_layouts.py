"""The library's layouts, built as their build systems do: cmake and make for real, the others by their rules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgegen.export.c.emit import Emitted, emit
from edgegen.export.c.golden_header import golden_header
from edgegen.export.c.layouts import library_files
from support.mcu_golden import golden_arrays, small_graph
from support.mcu_tools import mcu_tools

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wconversion")
CORTEX_M4 = ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")
OBJECTS = ("model", "eg_self_test", "eg_sha256")

# arduino.github.io/arduino-cli/latest/library-specification, and arduino-lint's schema of library.properties.
ARDUINO_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}")
ARDUINO_REQUIRED = {
    "name",
    "version",
    "author",
    "maintainer",
    "sentence",
    "paragraph",
    "category",
    "url",
    "architectures",
}
ARDUINO_KNOWN = ARDUINO_REQUIRED | {"depends", "dot_a_linkage", "includes", "precompiled", "ldflags", "license"}
ARDUINO_CATEGORIES = {
    *("Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing", "Data Storage"),
    *("Data Processing", "Other"),
}

# METADATA_SCHEMA of Zephyr's scripts/zephyr_module.py (at 013c135025b4), of what is text or yes and no.
ZEPHYR_KNOWN = {"name", "build", "tests", "samples", "boards", "blobs"}
ZEPHYR_BUILD = {
    **dict.fromkeys(("cmake", "kconfig", "sysbuild-cmake", "sysbuild-kconfig"), str),
    **dict.fromkeys(("cmake-ext", "kconfig-ext", "sysbuild-cmake-ext", "sysbuild-kconfig-ext"), bool),
}

# What Zephyr's cmake/modules/extensions.cmake does, as far as a module of sources asks for it.
ZEPHYR = """cmake_minimum_required(VERSION 3.20)
project(zephyr_stub C)
add_library(zephyr_interface INTERFACE)
macro(zephyr_library_named name)
  set(ZEPHYR_CURRENT_LIBRARY ${name})
  add_library(${name} STATIC "")
  target_link_libraries(${name} PUBLIC zephyr_interface)
endmacro()
function(zephyr_library_sources)
  target_sources(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()
function(zephyr_library_compile_options)
  target_compile_options(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()
function(zephyr_include_directories)
  foreach(arg ${ARGN})
    if(NOT IS_ABSOLUTE ${arg})
      set(arg ${CMAKE_CURRENT_SOURCE_DIR}/${arg})
    endif()
    target_include_directories(zephyr_interface INTERFACE ${arg})
  endforeach()
endfunction()
set(CONFIG_EDGEGEN_MODEL y)
add_subdirectory(module/zephyr)
"""

# What ESP-IDF does: first a script that asks for requirements, where nothing but that may happen, then the build.
IDF_SCRIPT = """macro(idf_component_register)
  message("registered ${ARGN}")
  return()
endmacro()
function(ask)
  include(component/CMakeLists.txt)
endfunction()
set(CMAKE_BUILD_EARLY_EXPANSION 1)
ask()
message("asked")
"""
IDF_BUILD = """cmake_minimum_required(VERSION 3.16)
project(idf_stub C)
set(ESP_PLATFORM 1)
function(idf_component_register)
  cmake_parse_arguments(_ "" "" "SRCS;INCLUDE_DIRS;REQUIRES" ${ARGN})
  list(TRANSFORM __SRCS PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
  list(TRANSFORM __INCLUDE_DIRS PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
  add_library(component STATIC ${__SRCS})
  target_include_directories(component PUBLIC ${__INCLUDE_DIRS})
  set(COMPONENT_LIB component PARENT_SCOPE)
endfunction()
add_subdirectory(component)
"""


@pytest.fixture(scope="module")
def emitted() -> Emitted:
    return emit(small_graph(), "c")


@pytest.fixture
def files(emitted: Emitted) -> dict[str, str]:
    header = golden_header(emitted.interface, golden_arrays(small_graph(), emitted))
    return library_files(emitted, header, "1.4.0")


def _laid(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def _run(command: list[object], folder: Path, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=None if env is None else dict(env),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[:6000]
    return done.stdout + done.stderr


def _cmake(folder: Path, *options: object, env: Mapping[str, str] | None = None) -> Path:
    if shutil.which("cmake") is None:
        pytest.skip("apt install cmake")
    _run(["cmake", "-S", ".", "-B", "build", *options], folder, env)
    _run(["cmake", "--build", "build", "--verbose"], folder, env)
    return folder / "build"


def _objects(build: Path) -> set[str]:
    """Names of what was compiled, without what cmake tries a compiler with."""
    found = [path for path in build.rglob("*") if path.name.endswith((".o", ".obj"))]
    return {path.name.split(".", maxsplit=1)[0] for path in found if "CompilerIdC" not in path.parts}


@pytest.mark.parametrize("core", ["host", "arm"])
@pytest.mark.parametrize("preset", ["OFF", "ON"])
def test_cmake_builds_the_library(files: dict[str, str], tmp_path: Path, core: str, preset: str) -> None:
    root, options, env = _laid(tmp_path / "library", files), [f"-DEG_PRESET_SIZE={preset}"], dict(os.environ)
    if core == "arm":
        compiler = mcu_tools().compiler
        flags = " ".join([*CORTEX_M4, *compiler.flags])
        options += [
            *("-DCMAKE_SYSTEM_NAME=Generic", "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY"),
            *(f"-DCMAKE_C_COMPILER={compiler.program}", f"-DCMAKE_C_FLAGS={flags}"),
            f"-DCMAKE_AR={compiler.program.removesuffix('gcc')}ar",
        ]
        env |= compiler.env
    build = _cmake(root, *options, env=env)
    assert _objects(build) == set(OBJECTS)
    assert (build / "libedgegen_model.a").stat().st_size > 1000


@pytest.mark.parametrize("more", [[], ["PRESET_SIZE=1"]])
def test_make_builds_the_library_for_a_core(files: dict[str, str], tmp_path: Path, more: list[str]) -> None:
    root, compiler = _laid(tmp_path, files), mcu_tools().compiler
    flags = " ".join([*CORTEX_M4, *compiler.flags, "-O3"])
    program = compiler.program
    tools = [f"CC={program}", f"AR={program.removesuffix('gcc')}ar", f"CFLAGS={flags}"]
    _run(["make", *tools, *more], root, compiler.env)
    assert {path.stem for path in (root / "src").glob("*.o")} == set(OBJECTS)
    assert (root / "libedgegen_model.a").stat().st_size > 1000
    _run(["make", "clean"], root)
    assert not list(root.rglob("*.[oa]"))


def test_library_without_golden_vectors_is_the_model_alone(emitted: Emitted, tmp_path: Path) -> None:
    root = _laid(tmp_path, library_files(emitted))
    assert {path.name for path in (root / "src").iterdir()} == {"model.c", "model.h", "eg_kernels.h", "model.json"}
    assert _objects(_cmake(root)) == {"model"}
    assert "golden" not in (root / "README.md").read_text()


def test_arduino_library_keeps_the_specification(files: dict[str, str]) -> None:
    told = dict(line.split("=", 1) for line in files["library.properties"].splitlines())
    assert set(told) >= ARDUINO_REQUIRED
    assert set(told) <= ARDUINO_KNOWN
    assert ARDUINO_NAME.fullmatch(told["name"])
    assert "arduino" not in told["name"].lower()
    assert re.fullmatch(r"\d+\.\d+\.\d+", told["version"])
    assert told["category"] in ARDUINO_CATEGORIES
    assert re.match(r"https?://\w", told["url"])
    assert f"src/{told['includes']}" in files
    assert all(value.strip() == value and value for value in told.values())
    # Sketches lie in folders of their names; sources below src/, which alone is searched for headers.
    assert [name for name in files if name.endswith(".ino")] == ["examples/run/run.ino"]


def test_arduino_library_compiles_as_arduino_compiles_it(files: dict[str, str], tmp_path: Path) -> None:
    """Every source below src/ by itself with src/ on the path; the sketch as C++ behind Arduino.h."""
    root, compiler = _laid(tmp_path, files), mcu_tools().compiler
    sources = sorted((root / "src").rglob("*.c"))
    assert {path.stem for path in sources} == set(OBJECTS)
    for path in sources:
        command = [compiler.program, *CORTEX_M4, *compiler.flags, "-std=gnu11", "-Os", *WARNINGS, "-Isrc"]
        _run([*command, "-c", path, "-o", path.with_suffix(".o")], root, compiler.env)
    if shutil.which("g++") is None:
        pytest.skip("apt install g++")
    (root / "Arduino.h").write_text(
        "#include <stdint.h>\n"
        "struct Line { void begin(long); template <class T> void println(T); };\n"
        "extern Line Serial;\n"
    )
    sketch = root / "examples" / "run" / "run.ino"
    _run(["g++", "-std=gnu++11", "-Wall", "-Isrc", "-I.", "-include", "Arduino.h", "-x", "c++", "-c", sketch], root)


def test_zephyr_module_keeps_the_schema(files: dict[str, str]) -> None:
    module = yaml.safe_load(files["zephyr/module.yml"])
    assert set(module) <= ZEPHYR_KNOWN
    assert set(module["build"]) <= set(ZEPHYR_BUILD)
    assert all(isinstance(value, ZEPHYR_BUILD[key]) for key, value in module["build"].items())
    assert f"{module['build']['cmake']}/CMakeLists.txt" in files
    assert module["build"]["kconfig"] in files


def test_zephyr_module_builds_with_zephyrs_functions(files: dict[str, str], tmp_path: Path) -> None:
    _laid(tmp_path / "module", files)
    (tmp_path / "CMakeLists.txt").write_text(ZEPHYR)
    assert _objects(_cmake(tmp_path)) == set(OBJECTS)
    assert list((tmp_path / "build").rglob("libedgegen_model.a"))
    off = tmp_path / "off"
    off.mkdir()
    (off / "CMakeLists.txt").write_text(ZEPHYR.replace("set(CONFIG_EDGEGEN_MODEL y)\n", ""))
    (off / "module").symlink_to(tmp_path / "module")
    assert not _objects(_cmake(off))


def test_esp_idf_component_registers_and_builds(files: dict[str, str], tmp_path: Path) -> None:
    _laid(tmp_path / "component", files)
    if shutil.which("cmake") is None:
        pytest.skip("apt install cmake")
    (tmp_path / "ask.cmake").write_text(IDF_SCRIPT)
    for more in ([], ["-DESP_PLATFORM=1"]):
        said = _run(["cmake", *more, "-P", "ask.cmake"], tmp_path)
        assert "registered SRCS;src/model.c;src/eg_self_test.c;src/eg_sha256.c;INCLUDE_DIRS;src" in said
        assert "asked" in said
    (tmp_path / "CMakeLists.txt").write_text(IDF_BUILD)
    assert _objects(_cmake(tmp_path)) == set(OBJECTS)
    manifest = yaml.safe_load(files["idf_component.yml"])
    assert manifest["version"] == "1.4.0"
    assert set(manifest) <= {"version", "description", "url", "dependencies", "maintainers", "targets", "files"}


def test_library_of_another_name_has_it_everywhere(emitted: Emitted) -> None:
    files: dict[str, Any] = library_files(emitted, None, "2.0.0", "edgegen_digits")
    for name in ("CMakeLists.txt", "Makefile", "library.properties", "zephyr/module.yml", "zephyr/CMakeLists.txt"):
        assert "edgegen_digits" in files[name]
        assert "edgegen_model" not in files[name]
    assert files["zephyr/Kconfig"].startswith("config EDGEGEN_DIGITS\n")
    assert "CONFIG_EDGEGEN_DIGITS=y" in files["README.md"]
    assert "EG_MODEL_ARENA_BYTES" in files["README.md"]
