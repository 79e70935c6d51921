"""Names and versions as the receivers' rules allow them: what has no equal there is refused, never bent in silence.

A bundle's name and version may come from a stranger. A version must keep its place in the order: a device's package
manager decides by it what is an upgrade.
"""

from __future__ import annotations

import builtins
import keyword
import re
import sys
from pathlib import PurePosixPath

from edgegen.core.errors import UsageError

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+ -]{0,63}")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_VERSION = re.compile(r"(0|[1-9]\d{0,17})((?:\.(?:0|[1-9]\d{0,17})){0,7})(?:-([0-9A-Za-z.-]+))?(?:\+([0-9A-Za-z.-]+))?")
_ORDERED = re.compile(r"(0|[1-9]\d{0,17})|([A-Za-z]+)(?:\.(0|[1-9]\d{0,17}))?")
_PEP_440 = {"alpha": "a", "a": "a", "beta": "b", "b": "b", "rc": "rc"}
_TAKEN = frozenset(("numpy", "onnxruntime", "ai_edge_litert", "executorch", "edgegen", "edgegen_runtime", "pip"))


def plain(text: str, what: str, option: str) -> str:
    """``text`` where it is letters, digits and ``. _ + -`` or blanks, at most 64, led by a letter or digit.

    Args:
        what: whose name it is, for the error.
        option: what says another.

    Raises:
        UsageError: anything else: a path, quotes, control letters, letters beyond ASCII.
    """
    if not _PLAIN.fullmatch(text):
        raise UsageError(
            f"the {what} has no equal in this form",
            got=repr(text[:80]),
            expected="letters, digits, '.', '_', '+', '-', at most 64",
            next_step=f"say another with {option}",
        )
    return text


def dashed(text: str, what: str, option: str) -> str:
    """In lower case, parts joined by ``-``: a folder, a compatible string, a board. Raises UsageError as ``plain``."""
    words = re.split(r"[^a-z0-9.]+", plain(text, what, option).lower())
    return "-".join(word for word in words if word).strip(".-")


def device_folder(text: str, option: str) -> PurePosixPath:
    """An absolute folder on a device, of plain parts. Raises UsageError."""
    parts = text.split("/")[1:]
    if not text.startswith("/") or not parts or not all(_PART.fullmatch(part) for part in parts):
        raise UsageError(
            "not a folder of a device",
            where=option,
            got=repr(text[:120]),
            expected="an absolute path of letters, digits, '.', '_', '-', without '..'",
        )
    return PurePosixPath(text)


def debian_name(text: str, option: str) -> str:
    """A Debian package's name (Debian policy 5.6.1): at least two of ``a-z 0-9 + - .``, led by a letter or digit.

    Raises:
        UsageError: there is none for the text.
    """
    name = dashed(text, "name", option)
    if len(name) < 2:
        raise UsageError(
            "too short for a package's name", got=text, expected="two letters", next_step=f"say another with {option}"
        )
    return name


def debian_version(version: str, option: str) -> str:
    """A Debian version that dpkg puts where Semantic Versioning puts the given one.

    ``1.2`` is ``1.2.0``; ``-rc.1`` becomes ``~rc1``, which dpkg takes for older than the release; what follows ``+``
    does not count in either order and is left out. A pre-release is one number, or one word and maybe a number: of
    others dpkg has another order (it reads ``rc10`` as newer than ``rc2``, Semantic Versioning as older).

    Raises:
        UsageError: the version is none, or would change its place.
    """
    numbers, early, _ = _parts(version, option)
    base = ".".join(numbers)
    if early is None:
        return base
    match = _ORDERED.fullmatch(early)
    if match is None:
        raise _unmappable(version, "dpkg would put this pre-release elsewhere", "as 1.2.0-rc.1", option)
    return f"{base}~{early.replace('.', '')}"


def python_version(version: str, option: str) -> str:
    """A version of PEP 440 at the same place: ``1.2.0-rc.1`` becomes ``1.2.0rc1``; what follows ``+`` becomes local.

    Raises:
        UsageError: the version is none, or its pre-release is not alpha, beta or rc.
    """
    numbers, early, build = _parts(version, option)
    text = ".".join(numbers)
    if early is not None:
        match = _ORDERED.fullmatch(early)
        word = match.group(2) if match else None
        if match is None or word not in _PEP_440:
            raise _unmappable(version, "PEP 440 has no such pre-release", "alpha, beta or rc, as 1.2.0-rc.1", option)
        text += f"{_PEP_440[word]}{match.group(3) or 0}"
    if build is not None:
        local = [part for part in re.split(r"[.-]+", build.lower()) if part]
        text += "+" + ".".join(str(int(part)) if part.isdecimal() else part for part in local)
    return text


def module_name(text: str, option: str) -> str:
    """A Python module's name: ``digits-vae`` becomes ``digits_vae``.

    Raises:
        UsageError: no identifier, a keyword, or the name of a module that others import.
    """
    name = re.sub(r"[^a-z0-9]+", "_", plain(text, "name", option).lower()).strip("_")
    taken = name in sys.stdlib_module_names or name in _TAKEN or hasattr(builtins, name)
    if not name.isidentifier() or keyword.iskeyword(name) or keyword.issoftkeyword(name) or taken:
        raise UsageError(
            "no module can have this name",
            got=text,
            expected="an identifier that Python and its libraries do not use themselves",
            next_step=f"say another with {option}",
        )
    return name


def _parts(version: str, option: str) -> tuple[list[str], str | None, str | None]:
    """The numbers (at least three, no more zeros at the end), the pre-release and what follows ``+``."""
    match = _VERSION.fullmatch(version)
    if match is None or any(not part for text in match.groups()[2:] if text for part in text.split(".")):
        raise UsageError(
            "the version has no equal in this form",
            got=repr(version[:80]),
            expected="a semantic version, as 1.4.0 or 1.4.0-rc.1",
            next_step=f"say another with {option}",
        )
    numbers = (match.group(1) + match.group(2)).split(".")
    while len(numbers) > 3 and numbers[-1] == "0":
        numbers.pop()
    return numbers + ["0"] * (3 - len(numbers)), match.group(3), match.group(4)


def _unmappable(version: str, what: str, expected: str, option: str) -> UsageError:
    return UsageError(what, got=version, expected=expected, next_step=f"say another with {option}")
