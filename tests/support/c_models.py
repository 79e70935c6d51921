"""Compiled models on this host: model.c with a main round it, built with the sanitizers, fed block by block."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgegen.core.c_model import CModel
from edgegen.export.c.emit import Emitted
from edgegen.links.c_blocks import packed, unpacked

Arrays = Mapping[str, np.ndarray[Any, Any]]

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")

MAIN = """
#include <stdint.h>
#include <stdio.h>
#include "model.h"
#define ROOM(bytes) ((bytes) > 0 ? (bytes) : 1)
static _Alignas(16) uint8_t arena[ROOM(EG_MODEL_ARENA_BYTES)];
static _Alignas(16) uint8_t in[EG_MODEL_INPUT_BYTES];
static _Alignas(16) uint8_t out[EG_MODEL_OUTPUT_BYTES];
int main(void) {
    while (fread(in, 1, sizeof in, stdin) == sizeof in) {
        for (size_t i = 0; i < sizeof arena; i++) { arena[i] = 0xa5; }
        eg_model_run(arena, in, out);
        (void)!fwrite(out, 1, sizeof out, stdout);
    }
    return 0;
}
"""


def built(emitted: Emitted, folder: Path, *options: str, sanitized: bool = True) -> Path:
    """A program that takes input blocks on its standard input and gives output blocks.

    Raises:
        AssertionError: the compiler complained; with its words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"model.c": emitted.source, "model.h": emitted.header, "eg_kernels.h": emitted.kernels, "main.c": MAIN}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return compiled(folder, *options, sanitized=sanitized)


def compiled(folder: Path, *options: str, sanitized: bool = True) -> Path:
    """The program of model.c and main.c in a folder."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler is not None, "no C compiler: apt-get install gcc"
    checks = SANITIZERS if sanitized else ()
    program, objects = folder / "program", folder / "model.o"
    _run([compiler, "-O1", "-g", *WARNINGS, *checks, *options, "-c", str(folder / "model.c"), "-o", str(objects)])
    _run([compiler, "-std=c11", "-g", *checks, str(folder / "main.c"), str(objects), "-o", str(program), "-lm"])
    return program


def fed(program: Path, blocks: bytes) -> bytes:
    """The output blocks of input blocks."""
    return _run([str(program)], blocks)


def inferred(program: Path, model: CModel, samples: Sequence[Arrays]) -> list[dict[str, np.ndarray[Any, Any]]]:
    """The stored outputs of every sample of stored inputs."""
    given = b"".join(packed(model.inputs, sample) for sample in samples)
    raw = fed(program, given)
    size = model.output_bytes
    assert len(raw) == size * len(samples)
    return [unpacked(model.outputs, raw[place * size : (place + 1) * size]) for place in range(len(samples))]


def _run(command: list[str], given: bytes = b"") -> bytes:
    done = subprocess.run(command, input=given, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, (done.stderr or done.stdout).decode(errors="replace")[:6000]
    return done.stdout
