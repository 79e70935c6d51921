"""Strict reading of frozen records from TOML and JSON, and their JSON Schema, from one declaration.

A record is a frozen, slotted, keyword-only dataclass. Its field types say what is allowed; ``metadata`` may add
``doc`` (a sentence), ``min``/``max`` (inclusive numbers), ``key`` (the name on disk, where Python cannot spell it) and
``search`` (values to try).
Understood types: str, int, float, bool, ``Any``, ``Literal``, ``X | None``, ``tuple[X, ...]``, ``Mapping[str, X]``
and other records. Everything else is a mistake in the record, not in the input.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Hashable, Mapping
from dataclasses import MISSING, Field, asdict, field, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

from edgegen.core.errors import UsageError
from edgegen.core.lazy import nearest

R = TypeVar("R")

_KINDS = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}


def setting(
    default: Any = MISSING,
    *,
    doc: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    key: str | None = None,
    search: tuple[Any, ...] | None = None,
) -> Any:
    """A dataclass field with its documentation and its allowed range (inclusive).

    Args:
        search: of a compression step's setting the values that ``edgegen search`` tries beside the written one. None:
            every value of a truth value or a ``Literal``, of others the written one alone; ``()``: the written one.
    """
    metadata = {"doc": doc, "min": minimum, "max": maximum, "key": key, "search": search}
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def disk_name(item: Field[Any]) -> str:
    """The field's name as files spell it."""
    return item.metadata.get("key") or item.name


@cache
def _hints(record: Hashable) -> dict[str, Any]:
    return typing.get_type_hints(record)


def read_record(record: type[R], data: Any, where: str, source: str) -> R:
    """Builds ``record`` from parsed TOML or JSON, refusing whatever it does not declare.

    Args:
        data: the parsed table.
        where: dotted path of the table inside ``source`` (empty for the whole file).
        source: the file that a person would open.

    Raises:
        UsageError: unknown key (with the nearest name), missing key, wrong type, number out of range.
    """
    if not isinstance(data, Mapping):
        raise UsageError("a table was expected", where=_at(source, where), got=_shown(data), expected="a table of keys")
    known = {disk_name(item): item for item in fields(cast(Any, record))}
    for name in data:
        if name not in known:
            raise UsageError(
                f"unknown key {name!r}",
                where=_at(source, where),
                got=name,
                expected=f"one of {', '.join(known)}{nearest(str(name), known)}",
                next_step="correct or remove the key",
            )
    values = {}
    for name, item in known.items():
        path = f"{where}.{name}" if where else name
        if name in data:
            value = _convert(_hints(cast(Hashable, record))[item.name], data[name], path, source)
            _check_range(item, value, path, source)
            values[item.name] = value
        elif item.default is MISSING and item.default_factory is MISSING:
            raise UsageError(f"the key {path!r} is missing", where=source, expected=item.metadata.get("doc") or None)
    return record(**values)


def write_record(record: Any) -> dict[str, Any]:
    """The record as plain JSON-ready values, keys as files spell them."""
    if not is_dataclass(record) or isinstance(record, type):
        raise TypeError(f"{record!r} is not a record")
    plain = asdict(record)
    return {disk_name(item): _plain(plain[item.name]) for item in fields(record)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return value


def json_schema(record: type) -> dict[str, Any]:
    """JSON Schema (draft 2020-12 vocabulary) of a record."""
    properties, required = {}, []
    for item in fields(cast(Any, record)):
        schema = _schema_of(_hints(record)[item.name])
        if item.metadata.get("doc"):
            schema["description"] = item.metadata["doc"]
        if item.metadata.get("min") is not None:
            schema["minimum"] = item.metadata["min"]
        if item.metadata.get("max") is not None:
            schema["maximum"] = item.metadata["max"]
        if item.default is not MISSING and item.default is not None and not is_dataclass(item.default):
            schema["default"] = _plain(item.default)
        properties[disk_name(item)] = schema
        if item.default is MISSING and item.default_factory is MISSING:
            required.append(disk_name(item))
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": required} if required else {})


def _schema_of(hint: Any) -> dict[str, Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return {}
    if origin in (Union, types.UnionType):
        options = [_schema_of(option) for option in arguments if option is not type(None)]
        return options[0] if len(options) == 1 else {"anyOf": options}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _schema_of(arguments[0])}
    if origin in (Mapping, dict) or hint in (Mapping, dict):
        return {"type": "object"} | ({"additionalProperties": _schema_of(arguments[1])} if arguments else {})
    if is_dataclass(hint):
        return json_schema(cast(type, hint))
    return {"type": {str: "string", int: "integer", float: "number", bool: "boolean"}[hint]}


def _convert(hint: Any, value: Any, path: str, source: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value, path, source)
    if origin is Literal:
        if value in arguments and type(value) in {type(option) for option in arguments}:
            return value
        raise _wrong(path, source, value, f"one of {', '.join(map(repr, arguments))}{nearest(str(value), arguments)}")
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise _wrong(path, source, value, "a list")
        return tuple(_convert(arguments[0], item, f"{path}[{index}]", source) for index, item in enumerate(value))
    if origin is Mapping or hint is Mapping:
        if not isinstance(value, Mapping):
            raise _wrong(path, source, value, "a table")
        inner = arguments[1] if arguments else Any
        return {str(key): _convert(inner, item, f"{path}.{key}", source) for key, item in value.items()}
    if is_dataclass(hint):
        return read_record(cast(type, hint), value, path, source)
    return _convert_scalar(hint, value, path, source)


def _convert_union(arguments: tuple[Any, ...], value: Any, path: str, source: str) -> Any:
    options = [option for option in arguments if option is not type(None)]
    if value is None and len(options) < len(arguments):
        return None
    if len(options) == 1:
        return _convert(options[0], value, path, source)
    for option in options:
        try:
            return _convert(option, value, path, source)
        except UsageError:
            continue
    raise _wrong(path, source, value, " or ".join(_KINDS.get(option, str(option)) for option in options))


def _convert_scalar(hint: Any, value: Any, path: str, source: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
        return value
    raise _wrong(path, source, value, _KINDS.get(hint, f"a {hint.__name__}"))


def _check_range(item: Field[Any], value: Any, path: str, source: str) -> None:
    low, high = item.metadata.get("min"), item.metadata.get("max")
    for number in value if isinstance(value, tuple) else (value,):
        if not isinstance(number, (int, float)) or isinstance(number, bool):
            continue
        if (low is not None and number < low) or (high is not None and number > high) or math.isnan(number):
            limits = " and ".join(
                text
                for text in (
                    f"at least {low}" if low is not None else "",
                    f"at most {high}" if high is not None else "",
                )
                if text
            )
            raise _wrong(path, source, value, limits or "a number")


def _wrong(path: str, source: str, value: Any, expected: str) -> UsageError:
    return UsageError(f"the value of {path!r} is not usable", where=source, got=_shown(value), expected=expected)


def _at(source: str, where: str) -> str:
    return f"{source}, [{where}]" if where else source


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
