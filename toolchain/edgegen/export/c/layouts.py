"""The model's sources as a library for the build systems that firmware is made with: one archive, flat sources.

``src/`` holds the sources; round it lie a CMakeLists.txt, a Makefile, an Arduino library (``library.properties``), a
Zephyr module (``zephyr/``) and an ESP-IDF component (``idf_component.yml``; its CMakeLists.txt is the same file).
"""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

from edgegen.core.c_model import C_INTERFACE
from edgegen.core.digests import canonical_json
from edgegen.core.records import write_record

if TYPE_CHECKING:
    from edgegen.export.c.emit import Emitted

_CMAKE = """# {name}: plain CMake, a Zephyr module or an ESP-IDF component, whichever includes this file.
if(ESP_PLATFORM)
  idf_component_register(SRCS "src/model.c" INCLUDE_DIRS "src")
  target_compile_options(${{COMPONENT_LIB}} PRIVATE -O3)
  return()
endif()

cmake_minimum_required(VERSION 3.13)
if(NOT CMAKE_PROJECT_NAME)
  project({name} C)
endif()

add_library({name} STATIC src/model.c)
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

lib{name}.a: src/model.o
\t$(AR) rcs $@ $^

src/model.o: src/model.c src/model.h src/eg_kernels.h
\t$(CC) -std=c99 -Wall -Wextra $(CFLAGS) -Isrc -c -o $@ $<

.PHONY: clean
clean:
\trm -f lib{name}.a src/model.o
"""

_ARDUINO = """name={name}
version=1.0.0
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

static uint8_t arena[{upper}_ARENA_BYTES + 1] __attribute__((aligned(16)));
static uint8_t in[{upper}_INPUT_BYTES] __attribute__((aligned(4)));
static uint8_t out[{upper}_OUTPUT_BYTES] __attribute__((aligned(4)));

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
  zephyr_library_sources(../src/model.c)
  zephyr_library_compile_options(-O3)
  zephyr_include_directories(../src)
endif()
"""

_ZEPHYR_KCONFIG = """config {upper}
\tbool "The neural network {name}"
\thelp
\t  Plain C; arena {arena} bytes, constants {constants} bytes.
"""

_IDF = """version: "1.0.0"
description: The neural network {name} as plain C
dependencies:
  idf: ">=5.0"
"""

_README = """# {name}

A neural network as C99: no allocation, no recursion, no files, no libraries but string.h.

    static uint8_t arena[{upper}_ARENA_BYTES] __attribute__((aligned(16)));
    eg_{model}_run(arena, in, out);

`src/model.h` has sizes, shapes, scales and zero points as macros. `-DEG_PRESET_SIZE` makes the kernels small,
`-DEG_ISA_C` keeps to portable C, `-DEG_PROFILE=name` calls `void name(int operator)` after every operator.

- Make: `make CC=arm-none-eabi-gcc CFLAGS="-mcpu=cortex-m4 -mthumb -O3"`
- CMake: `add_subdirectory(this)`, then `target_link_libraries(app {name})`
- Arduino: put this folder into `libraries/`
- Zephyr: name this folder in `ZEPHYR_EXTRA_MODULES` and set `CONFIG_{upper}=y`
- ESP-IDF: put this folder into `components/`
"""


def library_files(emitted: Emitted) -> dict[str, str]:
    """Path in the archive -> text."""
    model = emitted.interface
    name = f"edgegen_{model.name}"
    words = {
        "name": name,
        "model": model.name,
        "upper": name.upper(),
        "arena": model.arena_bytes,
        "constants": model.constant_bytes,
    }
    macros = {**words, "upper": f"EG_{model.name.upper()}"}
    return {
        "src/model.c": emitted.source,
        "src/model.h": emitted.header,
        "src/eg_kernels.h": emitted.kernels,
        f"src/{C_INTERFACE}": canonical_json(write_record(model)).decode(),
        "CMakeLists.txt": _CMAKE.format(**words),
        "Makefile": _MAKE.format(**words),
        "library.properties": _ARDUINO.format(**words),
        "examples/run/run.ino": _ARDUINO_EXAMPLE.format(**macros),
        "zephyr/module.yml": _ZEPHYR_MODULE.format(**words),
        "zephyr/CMakeLists.txt": _ZEPHYR_CMAKE.format(**words),
        "zephyr/Kconfig": _ZEPHYR_KCONFIG.format(**words),
        "idf_component.yml": _IDF.format(**words),
        "README.md": _README.format(**{**words, "upper": f"EG_{model.name.upper()}"}).replace(
            f"CONFIG_EG_{model.name.upper()}", f"CONFIG_{name.upper()}"
        ),
    }


def library(emitted: Emitted) -> bytes:
    """The archive; equal models give equal bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path, text in sorted(library_files(emitted).items()):
            member = zipfile.ZipInfo(f"edgegen_{emitted.interface.name}/{path}", date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system, member.external_attr, member.compress_type = 3, 0o644 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(member, text)
    return packed.getvalue()
