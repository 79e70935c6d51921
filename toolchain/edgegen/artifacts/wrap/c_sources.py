"""A bundle's C model as its texts: what the microcontroller's forms are made of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgegen.artifacts.golden import read_golden
from edgegen.artifacts.layout import GOLDEN_ARRAYS
from edgegen.artifacts.wrap.held import Held
from edgegen.core.c_model import C_INTERFACE, read_c_model
from edgegen.core.errors import IntegrityError, UsageError
from edgegen.core.models import FORMATS

if TYPE_CHECKING:
    from edgegen.export.c.golden_header import GoldenHeader
    from edgegen.export.c.layouts import Sources

_ARRAY = re.compile(r"^static const (u?int(?:8|16|32)_t) (\w+)\[\d+\][^={;]*= \{([^{}]*)\};", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_LARGEST = {"int8_t": ("i1", 8), "uint8_t": ("u1", 8), "int16_t": ("<i2", 16), "uint16_t": ("<u2", 16)}
_LARGEST |= {"int32_t": ("<i4", 32), "uint32_t": ("<u4", 32)}


def sources_of(bundle: Held) -> Sources:
    """The texts, each held against its digest.

    Raises:
        IntegrityError: they are no model's texts, though the bundle says so.
    """
    from edgegen.export.c.layouts import Sources

    try:
        model = read_c_model(bundle.files[C_INTERFACE].path)
        texts = {name: bundle.read(name).decode("utf-8") for name in (FORMATS["c"], "model.h", "eg_kernels.h")}
    except (UsageError, UnicodeDecodeError) as error:
        raise IntegrityError("the bundle's C model cannot be read", got=error) from error
    if not _NAME.fullmatch(model.name):
        raise IntegrityError("the C model's name is none that C can spell", got=repr(model.name[:80]))
    return Sources(source=texts[FORMATS["c"]], header=texts["model.h"], kernels=texts["eg_kernels.h"], interface=model)


def golden_of(bundle: Held, sources: Sources) -> GoldenHeader | None:
    """The bundle's golden vectors as a header; None where they are too large for one."""
    from edgegen.export.c.golden_header import golden_header

    return golden_header(sources.interface, read_golden(bundle.files[GOLDEN_ARRAYS].path))


def constants_of(source: str) -> dict[str, bytes]:
    """The constant arrays of integers in a model.c, by name, as a little-endian core holds them.

    Raises:
        IntegrityError: an array that holds other than numbers of its type.
    """
    import numpy as np

    found = {}
    for kind, name, numbers in _ARRAY.findall(source):
        layout, bits = _LARGEST[kind]
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if kind.startswith("int") else (0, 2**bits)
        try:
            values = [int(text) if text != "INT32_MIN" else -(2**31) for text in numbers.replace(",", " ").split()]
        except ValueError as error:
            raise IntegrityError("a constant of model.c is no number", where=name, got=error) from error
        if not all(low <= value < high for value in values):
            raise IntegrityError("a constant of model.c does not fit its type", where=name)
        found[name] = np.array(values, layout).tobytes()
    return found
