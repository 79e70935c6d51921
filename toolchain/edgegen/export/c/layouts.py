"""The model's sources as a library for the build systems that firmware is made with: one archive, flat sources.

``src/`` holds the sources, and golden vectors with what runs them (``golden.h``, ``eg_self_test.c``) where there are
some; round it lie a CMakeLists.txt, a Makefile, an Arduino library (``library.properties``), a Zephyr module
(``zephyr/``) and an ESP-IDF component (``idf_component.yml``; its CMakeLists.txt is the same file).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgegen.core.c_model import C_INTERFACE, CModel, read_c_model
from edgegen.core.digests import canonical_json
from edgegen.core.records import write_record
from edgegen.export.c.golden_header import GOLDEN_HEADER, GoldenHeader, self_test_sources

PLAIN_VERSION = "1.0.0"  # of a library that belongs to no bundle

_CMAKE = """# {name}: plain CMake, a Zephyr module or an ESP-IDF component, whichever includes this file.
if(ESP_PLATFORM OR COMMAND idf_component_register)
  idf_component_register(SRCS {quoted} INCLUDE_DIRS "src")
  target_compile_options(${{COMPONENT_LIB}} PRIVATE -O3)
  return()
endif()

cmake_minimum_required(VERSION 3.13)
if(NOT CMAKE_PROJECT_NAME)
  project({name} C)
endif()

add_library({name} STATIC {listed})
target_include_directories({name} PUBLIC src)
set_property(TARGET {name} PROPERTY C_STANDARD 99)
target_compile_options({name} PRIVATE -O3)
option(EG_PRESET_SIZE "Compile every kernel once: less flash, more instructions" OFF)
if(EG_PRESET_SIZE)
  target_compile_options({name} PRIVATE -O2)
  target_compile_definitions({name} PRIVATE EG_PRESET_SIZE)
endif()
"""

_MAKE = """# make CC=arm-none-eabi-gcc CFLAGS="-mcpu=cortex-m4 -mthumb -O3" gives lib{name}.a
CC ?= cc
AR ?= ar
CFLAGS ?= -O3
ifdef PRESET_SIZE
CFLAGS += -O2 -DEG_PRESET_SIZE
endif

lib{name}.a: {objects}
\t$(AR) rcs $@ $^

src/%.o: src/%.c $(wildcard src/*.h)
\t$(CC) -std=c99 -Wall -Wextra $(CFLAGS) -Isrc -c -o $@ $<

.PHONY: clean
clean:
\trm -f lib{name}.a {objects}
"""

_ARDUINO = """name={name}
version={version}
author=edgegen
maintainer=edgegen
sentence=A neural network as plain C.
paragraph=Arena {arena} bytes, constants {constants} bytes. Call eg_{model}_run(arena, in, out).
category=Data Processing
url=https://example.invalid/{name}
architectures=*
includes=model.h
"""

_ARDUINO_EXAMPLE = """#include <model.h>

static uint8_t arena[{macro}_ARENA_BYTES + 1] __attribute__((aligned(16)));
static uint8_t in[{macro}_INPUT_BYTES] __attribute__((aligned(4)));
static uint8_t out[{macro}_OUTPUT_BYTES] __attribute__((aligned(4)));

void setup() {{ Serial.begin(115200); }}

void loop() {{
  eg_{model}_run(arena, in, out);
  Serial.println(out[0]);
}}
"""

_ZEPHYR_MODULE = """name: {name}
build:
  cmake: zephyr
  kconfig: zephyr/Kconfig
"""

_ZEPHYR_CMAKE = """if(CONFIG_{upper})
  zephyr_library_named({name})
  zephyr_library_sources({above})
  zephyr_library_compile_options(-O3)
  zephyr_include_directories(../src)
endif()
"""

_ZEPHYR_KCONFIG = """config {upper}
\tbool "The neural network {name}"
\thelp
\t  Plain C; arena {arena} bytes, constants {constants} bytes.
"""

_IDF = """version: "{version}"
description: The neural network {name} as plain C
dependencies:
  idf: ">=5.0"
"""

_README = """# {name}

A neural network as C99: no allocation, no recursion, no files, no libraries but string.h.

    static uint8_t arena[{macro}_ARENA_BYTES] __attribute__((aligned(16)));
    eg_{model}_run(arena, in, out);

`src/model.h` has sizes, shapes, scales and zero points as macros. `-DEG_PRESET_SIZE` makes the kernels small,
`-DEG_ISA_C` keeps to portable C, `-DEG_PROFILE=name` calls `void name(int operator)` after every operator.

- Make: `make CC=arm-none-eabi-gcc CFLAGS="-mcpu=cortex-m4 -mthumb -O3"`
- CMake: `add_subdirectory(this)`, then `target_link_libraries(app {name})`
- Arduino: put this folder into `libraries/`
- Zephyr: name this folder in `ZEPHYR_EXTRA_MODULES` and set `CONFIG_{upper}=y`
- ESP-IDF: put this folder into `components/`
"""


_TESTED = """
`src/golden.h` holds {vectors} of the model's golden vectors ({golden} bytes{rest}). A firmware that tests itself
includes it in one source file; nothing of it is linked into others:

    #include "golden.h"
    if (eg_self_test(&eg_{model}_golden, arena, in, out) != EG_SELF_TEST_HOLDS) {{ /* not the proven model */ }}
"""


class Compiled(Protocol):
    """A model's texts: what ``emit`` gives, or ``Sources``."""

    @property
    def source(self) -> str:
        """model.c."""

    @property
    def header(self) -> str:
        """model.h."""

    @property
    def kernels(self) -> str:
        """eg_kernels.h."""

    @property
    def interface(self) -> CModel:
        """model.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The texts of a model that was exported before."""

    source: str
    header: str
    kernels: str
    interface: CModel


def read_sources(files: Mapping[str, Path]) -> Sources:
    """The texts of an export, by the names of its files.

    Raises:
        UsageError: its interface cannot be read.
    """
    return Sources(
        source=files["model.c"].read_text(encoding="utf-8"),
        header=files["model.h"].read_text(encoding="utf-8"),
        kernels=files["eg_kernels.h"].read_text(encoding="utf-8"),
        interface=read_c_model(files[C_INTERFACE]),
    )


def library_name(model: CModel) -> str:
    """Of the library, and of its folder."""
    return f"edgegen_{model.name}"


def library_files(
    made: Compiled, golden: GoldenHeader | None = None, version: str = PLAIN_VERSION, name: str = ""
) -> dict[str, str]:
    """Path in the archive -> text.

    Args:
        golden: vectors for a device that tests itself.
        version: of the library, for the build systems that ask for one: three numbers.
        name: of the library, an identifier of C; empty: that of ``library_name``.
    """
    model = made.interface
    name = name or library_name(model)
    tested = {} if golden is None else {GOLDEN_HEADER: golden.text, **self_test_sources()}
    sources = ["src/model.c", *(f"src/{file}" for file in sorted(tested) if file.endswith(".c"))]
    words = {
        "name": name,
        "model": model.name,
        "upper": name.upper(),
        "arena": model.arena_bytes,
        "constants": model.constant_bytes,
        "version": version,
        "listed": " ".join(sources),
        "quoted": " ".join(f'"{path}"' for path in sources),
        "above": " ".join(f"../{path}" for path in sources),
        "objects": " ".join(path.removesuffix(".c") + ".o" for path in sources),
        "macro": f"EG_{model.name.upper()}",
    }
    return {
        "src/model.c": made.source,
        "src/model.h": made.header,
        "src/eg_kernels.h": made.kernels,
        f"src/{C_INTERFACE}": canonical_json(write_record(model)).decode(),
        **{f"src/{file}": text for file, text in tested.items()},
        "CMakeLists.txt": _CMAKE.format(**words),
        "Makefile": _MAKE.format(**words),
        "library.properties": _ARDUINO.format(**words),
        "examples/run/run.ino": _ARDUINO_EXAMPLE.format(**words),
        "zephyr/module.yml": _ZEPHYR_MODULE.format(**words),
        "zephyr/CMakeLists.txt": _ZEPHYR_CMAKE.format(**words),
        "zephyr/Kconfig": _ZEPHYR_KCONFIG.format(**words),
        "idf_component.yml": _IDF.format(**words),
        "README.md": _README.format(**words) + ("" if golden is None else _told(model, golden)),
    }


def library(made: Compiled, golden: GoldenHeader | None = None, version: str = PLAIN_VERSION) -> bytes:
    """The archive; equal models give equal bytes."""
    folder, files = library_name(made.interface), library_files(made, golden, version)
    return packed_files({f"{folder}/{path}": text.encode() for path, text in files.items()})


def packed_files(files: Mapping[str, bytes]) -> bytes:
    """A zip whose bytes depend on nothing but paths and contents."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path, data in sorted(files.items()):
            member = zipfile.ZipInfo(path, date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system, member.external_attr, member.compress_type = 3, 0o644 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(member, data)
    return packed.getvalue()


def _told(model: CModel, golden: GoldenHeader) -> str:
    rest = f"; {golden.left_out} more had no room" if golden.left_out else ""
    return _TESTED.format(model=model.name, vectors=golden.vectors, golden=golden.bytes, rest=rest)
