"""One header and nothing else: weights, kernels and the function that runs them, or a ``.tflite`` file as an array.

In the style of single-header libraries: it declares wherever it is included, and defines where the source file that
includes it has defined ``..._IMPLEMENTATION`` before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgegen.artifacts.wrap.c_sources import golden_of, sources_of
from edgegen.artifacts.wrap.held import Held
from edgegen.artifacts.wrap.naming import plain
from edgegen.artifacts.wrap.order import Made, Tools
from edgegen.core.models import FORMATS
from edgegen.core.records import setting

_OWN_INCLUDE = re.compile(r'^#include "(?:model|golden|eg_\w+)\.h"\n', re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Options of ``--as c-header``."""

    header: str | None = setting(None, doc="name of the header without .h; else the bundle's name")


def wrap(bundle: Held, work: Path, settings: Settings, tools: Tools) -> Made:
    """Writes ``NAME.h``.

    Raises:
        UsageError: a name that C cannot have.
        IntegrityError: the bundle's C model is none.
    """
    name = re.sub(r"[^a-z0-9]+", "_", plain(settings.header or bundle.manifest.name, "name", "--header").lower())
    name = name.strip("_") if name.strip("_")[:1].isalpha() else f"model_{name.strip('_')}"
    path = work / f"{name}.h"
    if bundle.manifest.format == "c":
        text, prefix, vectors = _compiled(bundle, path.name)
    else:
        text, prefix, vectors = _blob(bundle, name, path.name), name.upper(), 0
    path.write_text(text, encoding="utf-8", newline="\n")
    return Made(
        path=path,
        not_checked="a header has no tool of its own; any C compiler is one",
        details={"implementation": f"{prefix}_IMPLEMENTATION", "golden_vectors": vectors},
    )


def _compiled(bundle: Held, file_name: str) -> tuple[str, str, int]:
    """The text, the prefix of its macros, and how many golden vectors are in it."""
    from edgegen.export.c.golden_header import self_test_sources

    sources = sources_of(bundle)
    golden = golden_of(bundle, sources)
    model = sources.interface.name
    prefix = f"EG_{model.upper()}"
    implementation = [_alone(sources.kernels), _alone(sources.source), "#undef EG_OPERATOR", "#undef EG_PROFILE"]
    declared: list[str] = []
    if golden is not None:
        parts = self_test_sources()
        # Two models' headers may meet in one firmware: each brings functions under names of its own.
        declared = [
            "#if defined(__cplusplus)",
            'extern "C" {',
            "#endif",
            "/* The golden vectors: EG_SELF_TEST_HOLDS (-1), or the first vector whose output differs. */",
            f"int32_t eg_{model}_self_test(void *arena, void *in, void *out);",
            "#if defined(__cplusplus)",
            "}",
            "#endif",
        ]
        renamed = {"eg_sha256": f"eg_{model}_sha256", "eg_self_test": f"eg_{model}_golden_test"}
        order = ("eg_bytes.h", "eg_sha256.h", "eg_self_test.h", "eg_sha256.c", "eg_self_test.c")
        implementation += [
            *(f"#define {old} {new}" for old, new in renamed.items()),
            *(_alone(parts[part]) for part in order),
            _alone(golden.text),
            f"int32_t eg_{model}_self_test(void *arena, void *in, void *out)",
            "{",
            f"    return eg_self_test(&eg_{model}_golden, arena, in, out);",
            "}",
            *(f"#undef {old}" for old in renamed),
        ]
    usage = [
        f"In one .c file: #define {prefix}_IMPLEMENTATION before it is included. Then eg_{model}_run(arena, in, out).",
        "The implementation is C99; the declarations are for C and C++.",
    ]
    text = [
        *_head(bundle, file_name, prefix, usage),
        "#include <stdint.h>",
        _alone(sources.header),
        *declared,
        f"#if defined({prefix}_IMPLEMENTATION) && !defined({prefix}_IMPLEMENTED)",
        f"#define {prefix}_IMPLEMENTED",
        "#if defined(__cplusplus)",
        '#error "the implementation is C: define it in a .c file"',
        "#endif",
        *implementation,
        "#endif",
        "",
    ]
    return "\n".join(text), prefix, 0 if golden is None else golden.vectors


def _blob(bundle: Held, name: str, file_name: str) -> str:
    data = bundle.read(FORMATS[bundle.manifest.format])
    upper = name.upper()
    rows = [
        "    " + ",".join(str(byte) for byte in data[begin : begin + 24]) + "," for begin in range(0, len(data), 24)
    ]
    usage = [
        f"The file {FORMATS[bundle.manifest.format]} as an array in flash, aligned to {upper}_ALIGN bytes.",
        f"In one source file: #define {upper}_IMPLEMENTATION before it is included.",
    ]
    return "\n".join(
        [
            *_head(bundle, file_name, upper, usage),
            f"#ifndef {upper}_ALIGN",
            f"#define {upper}_ALIGN 16 /* what TensorFlow Lite Micro wants of a model */",
            "#endif",
            f"#ifndef {upper}_DECLARED",
            f"#define {upper}_DECLARED",
            f"#define {upper}_BYTES {len(data)}u",
            "#if defined(__cplusplus)",
            'extern "C" {',
            "#endif",
            f"extern const unsigned char {name}[{upper}_BYTES];",
            "#if defined(__cplusplus)",
            "}",
            "#endif",
            "#endif",
            "",
            f"#if defined({upper}_IMPLEMENTATION) && !defined({upper}_IMPLEMENTED)",
            f"#define {upper}_IMPLEMENTED",
            f"const unsigned char {name}[{upper}_BYTES] __attribute__((aligned({upper}_ALIGN))) = {{",
            *rows,
            "};",
            "#endif",
            "",
        ]
    )


def _head(bundle: Held, file_name: str, prefix: str, usage: list[str]) -> list[str]:
    manifest = bundle.manifest
    name, version = (plain(text, "name or version", "--header") for text in (manifest.name, manifest.version))
    return [
        f"/* {file_name}: the model {name} {version} as one header. Written by edgegen.",
        *(f" * {line}" for line in usage),
        f" * Bundle: {bundle.digest} (edgegen verify says who signed it). */",
        f"#ifndef {prefix}_BUNDLE_DIGEST",
        f'#define {prefix}_BUNDLE_DIGEST "{bundle.digest}"',
        f'#define {prefix}_BUNDLE_VERSION "{version}"',
        "#endif",
        "",
    ]


def _alone(text: str) -> str:
    """A text without the includes of its neighbours, which stand in front of it."""
    return _OWN_INCLUDE.sub("", text)
