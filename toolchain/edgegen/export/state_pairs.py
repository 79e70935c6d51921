"""Which output of a model feeds which input at the next step: told by names and shapes where there is no doubt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from edgegen.core.errors import UsageError
from edgegen.export.opened import Value

_STATE = re.compile(r"state|hidden|cell|cache|memory|(^|_)(h|c|hx|cx|h0|c0|hn|cn|kv|past|present)($|_)", re.IGNORECASE)
_ENDS = re.compile(
    r"(^|_)(in|out|input|output|prev|previous|old|next|new|updated|past|present|i|o|n|t|t1|0|1)(?=_|$)", re.IGNORECASE
)


def state_pairs(inputs: Sequence[Value], outputs: Sequence[Value]) -> dict[str, str]:
    """Input -> output of the same shape and type whose names say that they are one state; where one of several could
    be meant, none.
    """
    found: dict[str, str] = {}
    for value in inputs:
        if not _STATE.search(_plain(value.name)):
            continue
        fitting = [
            other
            for other in outputs
            if _alike(value, other) and other.dtype in ("", value.dtype)
            if _STATE.search(_plain(other.name)) and _core(other.name) == _core(value.name)
        ]
        if len(fitting) == 1:
            found[value.name] = fitting[0].name
    twice = {name for name in found.values() if list(found.values()).count(name) > 1}
    return {name: output for name, output in found.items() if output not in twice}


def check_state(
    inputs: Sequence[Value], outputs: Sequence[Value], state: Mapping[str, str], where: str
) -> dict[str, str]:
    """What a person wrote, if it fits.

    Raises:
        UsageError: no such input or output, other shapes or types, or an output that feeds two inputs.
    """
    takes, gives = ({item.name: item for item in side} for side in (inputs, outputs))
    for name, output in state.items():
        for end, known, word in ((name, takes, "input"), (output, gives, "output")):
            if end not in known and (outputs or word == "input"):
                raise UsageError(
                    f"the model has no {word} {end!r}",
                    where=f"--state {name}={output}",
                    expected=f"INPUT=OUTPUT of {', '.join(takes)} and {', '.join(gives)}",
                )
        if not outputs:  # weights of a class: its outputs are known when it is traced
            continue
        one, other = takes[name], gives[output]
        if not _alike(one, other) or (one.dtype and other.dtype and one.dtype != other.dtype):
            raise UsageError(
                "the output cannot be fed back: it is of another shape or type than the input",
                where=f"{where}, --state {name}={output}",
                got=f"{output}: {other.dtype} {list(other.dims or ())}",
                expected=f"{one.dtype} {list(one.dims or ())}",
            )
    if len(set(state.values())) < len(state):
        raise UsageError("one output feeds two inputs", where="--state", got=", ".join(state.values()))
    return dict(state)


def _alike(one: Value, other: Value) -> bool:
    """Whether the shapes can be the same: an axis of an output that is not known may be any."""
    if one.dims is None or other.dims is None or len(one.dims) != len(other.dims):
        return other.dims is None
    return all(isinstance(axis, str) or axis == fixed for fixed, axis in zip(one.dims, other.dims, strict=True))


def _plain(name: str) -> str:
    """Lower case, words apart by one underscore each: ``stateN`` is ``state_n``."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", apart.lower()).strip("_")


def _core(name: str) -> str:
    """The name without what says which end it is: both of ``h_in`` and ``h_out`` are ``h``."""
    plain = {"hn": "h", "cn": "c", "h0": "h", "c0": "c", "hx": "h", "cx": "c"}
    words = re.sub(r"_+", "_", _ENDS.sub("_", _plain(name))).strip("_").split("_")
    return "_".join(plain.get(word, word) for word in words)
