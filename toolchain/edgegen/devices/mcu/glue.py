"""The C that ties an exported model to the firmware: buffers, outputs and the one function that runs it."""

from __future__ import annotations

import math

from edgegen.core.c_model import CModel, CTensor

_TYPES = {
    "int8": "EG_INT8",
    "uint8": "EG_UINT8",
    "bool": "EG_UINT8",
    "int16": "EG_INT16",
    "int32": "EG_INT32",
    "float32": "EG_FLOAT32",
}
_SPAN_BITS = {"EG_INT8": 9, "EG_UINT8": 9, "EG_INT16": 17, "EG_INT32": 33, "EG_FLOAT32": 0}  # of stored - zero_point
_ALIGNED = "__attribute__((aligned(16)))"


def glue(model: CModel, digest: str) -> str:
    """Text of the file that defines ``eg_model`` (``runtimes/mcu/port/eg_model.h``).

    Args:
        digest: of the model's sources, hexadecimal.
    """
    outputs = ",\n    ".join(_output(tensor) for tensor in model.outputs)
    reads = "read" if model.prompt_operators else "run"
    return f"""#include "eg_model.h"

#include "model.h"

static uint8_t arena[{max(model.arena_bytes, 16)}] {_ALIGNED};
static uint8_t input[{model.input_bytes}] {_ALIGNED};
static uint8_t output[{model.output_bytes}] {_ALIGNED};

static const struct eg_output outputs[] = {{
    {outputs},
}};

static void run(void)
{{
    eg_{model.name}_run(arena, input, output);
}}

static void read(void)
{{
    eg_{model.name}_{reads}(arena, input, output);
}}

const struct eg_model eg_model = {{
    .name = "{model.name}",
    .digest = "{digest}",
    .arena_bytes = {model.arena_bytes}u,
    .input_bytes = {model.input_bytes}u,
    .output_bytes = {model.output_bytes}u,
    .operators = {len(model.operators)}u,
    .output_count = {len(model.outputs)}u,
    .outputs = outputs,
    .input = input,
    .output = output,
    .run = run,
    .read = read,
}};
"""


def nothing() -> str:
    """Text of a firmware's model that does nothing: what is left is the harness."""
    return f"""#include "eg_model.h"

static uint8_t input[4] {_ALIGNED};
static uint8_t output[4] {_ALIGNED};
static const struct eg_output outputs[] = {{{{0u, 4u, EG_INT8, 0, 1000000, 0}}}};

static void run(void)
{{
}}

const struct eg_model eg_model = {{"nothing", "0", 0u, 4u, 4u, 0u, 1u, outputs, input, output, run, run}};
"""


def _output(tensor: CTensor) -> str:
    """Millionths of a stored unit as an integer of as many bits as a 64-bit product leaves it, and its shift."""
    kind = _TYPES[tensor.dtype]
    most = 2.0 ** (62 - _SPAN_BITS[kind])
    millionths = min(1e6 * (1.0 if tensor.scale is None else tensor.scale), most / 2)
    shift = 0
    while shift < 40 and millionths * 2.0 ** (shift + 1) < most:
        shift += 1
    numerator = round(millionths * 2.0**shift)
    elements = math.prod(tensor.shape)
    return f"{{{tensor.offset}u, {elements}u, {kind}, {tensor.zero_point or 0}, {numerator}LL, {shift}u}}"
