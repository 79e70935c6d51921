"""The URI of a key in a token (PKCS#11), as RFC 7512 says.

pkcs11:token=fw;object=release?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/secrets/pin
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from edgegen.core.errors import ToolMissingError, UsageError
from edgegen.core.given_file import read_file

MODULE = "EDGEGEN_PKCS11_MODULE"
SCHEME = "pkcs11:"

_TOKEN, _OBJECT, _LIBRARY, _PIN = "token", "object", "module-path", "pin-source"
_MAX_PIN_FILE_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUri:
    """Which key is meant, and how its token is reached."""

    text: str  # as it was given
    token: str  # the token's label
    label: str  # of the private and of the public object
    module: str  # the token's library
    pin_file: Path | None = None  # has the PIN on its first line; None: it comes from elsewhere

    def bare(self) -> str:
        """The private object alone, for programs that are told of module and PIN in another way."""
        return f"{SCHEME}token={quote(self.token, safe='')};object={quote(self.label, safe='')};type=private"

    def pin(self) -> bytes | None:
        """The PIN that the URI leads to; None if it leads to none. Raises UsageError: the file cannot be read."""
        if self.pin_file is None:
            return None
        data = read_file(self.pin_file, "the PIN's file", limit_bytes=_MAX_PIN_FILE_BYTES)
        return data.split(b"\n", 1)[0].removesuffix(b"\r")


def in_token(key: str) -> bool:
    """Whether a key is named by the URI of one in a token, and not by a file."""
    return key.startswith(SCHEME)


def read_uri(uri: str) -> TokenUri:
    """What a URI says; the module may stand in ``EDGEGEN_PKCS11_MODULE`` instead.

    Raises:
        UsageError: token or object is missing, or there is another attribute.
        ToolMissingError: there is no such module.
    """
    path, _, query = uri.removeprefix(SCHEME).partition("?")
    places = [item.partition("=") for item in path.split(";")]
    pairs = [*places, *(item.partition("=") for item in query.split("&") if item)]
    parts = {name: unquote(value) for name, _, value in pairs}
    parts.setdefault(_LIBRARY, os.environ.get(MODULE, ""))
    sound = len({name for name, _, _ in pairs}) == len(pairs) and all(parts.values())
    named = {name for name, _, _ in places} == {_TOKEN, _OBJECT} and set(parts) - {_PIN} == {_TOKEN, _OBJECT, _LIBRARY}
    if not uri.startswith(SCHEME) or not sound or not named:
        raise UsageError(
            "not the URI of a key in a token",
            got=uri[:200],
            expected=f"pkcs11:token=LABEL;object=LABEL?module-path=FILE&pin-source=file:FILE; {MODULE} may name the"
            " module instead, and the PIN may come from where passphrases come from",
        )
    if not Path(parts[_LIBRARY]).is_file():
        raise ToolMissingError("the PKCS#11 module is not there", where=parts[_LIBRARY])
    return TokenUri(
        text=uri,
        token=parts[_TOKEN],
        label=parts[_OBJECT],
        module=parts[_LIBRARY],
        pin_file=_file(parts[_PIN], uri) if _PIN in parts else None,
    )


def _file(source: str, uri: str) -> Path:
    path = Path(source.removeprefix("file:"))
    if not path.is_absolute():  # RFC 7512 knows programs too, ``|command``: none is run here
        raise UsageError("not a place for a PIN", where=uri[:200], got=source[:80], expected="pin-source=file:/a/file")
    return path
