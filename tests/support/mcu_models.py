"""Exported C models written by hand, as the compiler exports them: for tests of what builds and runs firmware."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgegen.core.c_model import read_c_model
from edgegen.links.c_blocks import real, stored

_HEAD = """#include "model.h"

#include "eg_kernels.h"

#if defined(EG_PROFILE)
void EG_PROFILE(int);
#else
#define EG_PROFILE(i) ((void)0)
#endif

"""

PRODUCTS = """
void eg_tiny_run(void *arena, const void *in, void *out)
{
    const int8_t *x = in;
    int8_t *y = out;
    int32_t *sums = arena;
    for (int i = 0; i < OUTPUTS; i++) {
        sums[i] = 0;
        for (int j = 0; j < INPUTS; j++) {
            sums[i] += x[j] * ((i * 7 + j * 3) % 11 - 5);
        }
    }
    EG_PROFILE(0);
    for (int i = 0; i < OUTPUTS; i++) {
        y[i] = (int8_t)(sums[i] >> 8);
    }
    EG_PROFILE(1);
}
"""
"""Every output is a sum of products; two operators."""

SPIN = """
void eg_tiny_run(void *arena, const void *in, void *out)
{
    (void)arena;
    const uint8_t *x = in;
    uint32_t count = ((uint32_t)x[0] | ((uint32_t)x[1] << 8) | ((uint32_t)x[2] << 16)) + 1u;
#if defined(__riscv)
    __asm__ volatile("1: addi %0, %0, -1\\n bnez %0, 1b" : "+r"(count));
#else
    __asm__ volatile(".syntax unified\\n1: subs %0, #1\\n bne 1b" : "+l"(count) : : "cc");
#endif
    ((uint8_t *)out)[0] = 0;
    EG_PROFILE(0);
    EG_PROFILE(1);
}
"""
"""Twice as many instructions as the input's first three bytes say, and a fixed number beside."""

CRASH = """
void eg_tiny_run(void *arena, const void *in, void *out)
{
    (void)arena;
    (void)in;
    (void)out;
    *(volatile uint32_t *)0xfffffff0u = 1u;
}
"""

HANG = """
void eg_tiny_run(void *arena, const void *in, void *out)
{
    (void)arena;
    (void)in;
    (void)out;
    for (;;) {
    }
}
"""

SEQUENCE = """
/* Memory as it goes: a whole state of 8, and a ring of 5 places of 3 in 2 rows; the position takes part. */
void eg_tiny_run(void *arena, const void *in, void *out)
{
    (void)arena;
    const uint8_t *block = in;
    const int32_t token = *(const int32_t *)(const void *)block, position = *(const int32_t *)(const void *)(block + 4);
    const int8_t *state = (const int8_t *)(block + 8), *keys = (const int8_t *)(block + 16);
    int8_t *logits = out, *next = logits + 20, *added = logits + 28;
    for (int i = 0; i < 8; i++) {
        next[i] = (int8_t)((state[i] * 3 + state[(i + 1) % 8] + token * (7 + i) + position) % 101 - 50);
    }
    for (int i = 0; i < 6; i++) {
        added[i] = (int8_t)((token * 5 + next[i] * 2 + i) % 90 - 40);
    }
    for (int i = 0; i < 20; i++) {
        int32_t sum = next[i % 8] * (i + 1);
        for (int j = 0; j < 30; j++) {
            sum += keys[j] * ((i + j) % 7 - 3);
        }
        logits[i] = (int8_t)(sum % 100);
    }
    EG_PROFILE(0);
    EG_PROFILE(1);
}
"""
"""A model of sequences over 20 tokens."""

SCALES = {"x": (1 / 127, -1), "y": (0.05, 3)}
"""Input and output: scale and zero point."""


def write_model(
    folder: Path, body: str = PRODUCTS, *, inputs: int = 784, outputs: int = 16, arena_bytes: int | None = None
) -> Path:
    """An exported model in ``folder``: ``model.c`` and the files beside it. Returns the path of ``model.c``."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        "schema_version": 1,
        "name": "tiny",
        "rounding": "tflm-double",
        "isa": "c",
        "arena_bytes": 4 * outputs if arena_bytes is None else arena_bytes,
        "arena_lower_bound_bytes": 4 * outputs,
        "constant_bytes": 0,
        "inputs": [_tensor("x", inputs)],
        "outputs": [_tensor("y", outputs)],
        "operators": [
            {"name": "sums", "kind": "dense", "kernel": "k", "macs": inputs * outputs},
            {"name": "ends", "kind": "requantize", "kernel": "r", "macs": 0},
        ],
        "states": [],
    }
    sizes = f"#define INPUTS {inputs}\n#define OUTPUTS {outputs}\n"
    (folder / "model.json").write_text(json.dumps(told), encoding="utf-8")
    (folder / "eg_kernels.h").write_text(f"#include <stdint.h>\n{sizes}", encoding="utf-8")
    (folder / "model.h").write_text("void eg_tiny_run(void *arena, const void *in, void *out);\n", encoding="utf-8")
    (folder / "model.c").write_text(_HEAD + body, encoding="utf-8")
    return folder / "model.c"


def write_sequence_model(folder: Path) -> Path:
    """A model of ``SEQUENCE``, whose memory has other scales where it comes out than where it goes in."""
    path = write_model(folder, SEQUENCE)
    told = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    told["inputs"] = [
        _plain("token", "int32", [1, 1], 0, 4),
        _plain("position", "int32", [1, 1], 4, 4),
        _scaled("state", [1, 8], 8, 0.031, 4),
        _scaled("keys", [1, 2, 5, 3], 16, 0.02, -7),
    ]
    told["outputs"] = [
        _scaled("logits", [1, 20], 0, 0.11, -3),
        _scaled("next_state", [1, 8], 20, 0.029, -2),
        _scaled("new_keys", [1, 2, 3], 28, 0.023, 1),
    ]
    (folder / "model.json").write_text(json.dumps(told), encoding="utf-8")
    return path


def _plain(name: str, dtype: str, shape: list[int], offset: int, size: int) -> dict[str, Any]:
    more = {"scale": None, "zero_point": None, "offset": offset, "bytes": size}
    return {"name": name, "dtype": dtype, "shape": shape, **more}


def _scaled(name: str, shape: list[int], offset: int, scale: float, zero_point: int) -> dict[str, Any]:
    whole = _plain(name, "int8", shape, offset, int(np.prod(shape)))
    return whole | {"scale": float(np.float32(scale)), "zero_point": zero_point}


def expected(model: Path, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What a model of ``PRODUCTS`` gives for float32 samples, by numpy."""
    told = read_c_model(model.parent / "model.json")
    (outputs,) = told.outputs
    place = np.arange(outputs.shape[1])[:, None] * 7 + np.arange(x.shape[1])[None, :] * 3
    sums = stored(told.inputs[0], x).astype(np.int64) @ (place % 11 - 5).T
    return real(outputs, ((sums >> 8).astype(np.int8)))


def samples(count: int, inputs: int = 784, seed: int = 0) -> np.ndarray[Any, Any]:
    """float32 in [-1, 1]."""
    return np.random.Generator(np.random.PCG64(seed)).uniform(-1, 1, (count, inputs)).astype(np.float32)


def _tensor(name: str, elements: int) -> dict[str, Any]:
    scale, zero_point = SCALES[name]
    shape: Sequence[int] = [1, elements]
    return {
        "name": name,
        "dtype": "int8",
        "shape": list(shape),
        "scale": float(np.float32(scale)),
        "zero_point": zero_point,
        "offset": 0,
        "bytes": elements,
    }
