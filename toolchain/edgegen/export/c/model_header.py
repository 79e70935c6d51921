"""The header of a model's C: sizes, shapes and scales as macros, and the one function."""

from __future__ import annotations

from edgegen.core.c_model import CModel
from edgegen.export.c.c_text import TYPES, constant_text


def model_header(model: CModel) -> str:
    """The text of model.h."""
    upper = f"EG_{model.name.upper()}"
    lines = [
        f"/* The model {model.name}: sizes, inputs and outputs. Written by edgegen. */",
        f"#ifndef {upper}_INTERFACE_H",
        f"#define {upper}_INTERFACE_H",
        "",
        "/* Working memory, 16-byte aligned; nothing in it need survive from call to call. */",
        f"#define {upper}_ARENA_BYTES {model.arena_bytes}",
        f"#define {upper}_INPUT_BYTES {model.input_bytes}",
        f"#define {upper}_OUTPUT_BYTES {model.output_bytes}",
        f"#define {upper}_OPERATORS {len(model.operators)}",
        "",
        "/* real = SCALE * (stored - ZERO_POINT) where there is a SCALE; OFFSET is in bytes from the block's start. */",
    ]
    for side, tensors in (("INPUT", model.inputs), ("OUTPUT", model.outputs)):
        lines.append(f"#define {upper}_{side}S {len(tensors)}")
        for place, tensor in enumerate(tensors):
            prefix = f"#define {upper}_{side}{place}"
            lines += [
                f'{prefix}_NAME "{_plain(tensor.name)}"',
                f"{prefix}_TYPE {TYPES[tensor.dtype]}",
                f"{prefix}_SHAPE {{{', '.join(str(axis) for axis in tensor.shape)}}}",
                f"{prefix}_OFFSET {tensor.offset}",
                f"{prefix}_BYTES {tensor.bytes}",
            ]
            if tensor.scale is not None and tensor.zero_point is not None:
                lines += [
                    f"{prefix}_SCALE {constant_text(tensor.scale)}",
                    f"{prefix}_ZERO_POINT ({tensor.zero_point})",
                ]
    lines += [
        "",
        "#if defined(__cplusplus)",
        'extern "C" {',
        "#endif",
        "/* One inference. The three blocks have the sizes above and lie apart; arena is 16-byte aligned, in and out",
        " * are 4-byte aligned. */",
        f"void eg_{model.name}_run(void *arena, const void *in, void *out);",
        *_reader(model),
        "#if defined(__cplusplus)",
        "}",
        "#endif",
        "",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def _reader(model: CModel) -> list[str]:
    """The declaration of what reads a prompt's tokens, where there is such a function."""
    if not model.prompt_operators:
        return []
    memory = ", ".join(_plain(model.outputs[output].name) for _, output in model.states)
    return [
        f"/* The same for a token whose scores nobody asks for: {model.prompt_operators} of the {len(model.operators)}",
        f" * operators, of the outputs only {memory}. The others hold nothing of use after it. */",
        f"void eg_{model.name}_read(void *arena, const void *in, void *out);",
    ]


def _plain(name: str) -> str:
    """A name that may stand between quotes in C."""
    return "".join(
        letter if letter.isascii() and letter.isprintable() and letter not in '"\\' else "_" for letter in name
    )
