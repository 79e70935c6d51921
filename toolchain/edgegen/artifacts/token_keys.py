"""Keys that never leave a token (PKCS#11): named by a URI as RFC 7512 says, used through python-pkcs11.

pkcs11:token=fw;object=release?module-path=/usr/lib/softhsm/libsofthsm2.so
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pkcs11
from pkcs11.exceptions import PKCS11Error

from edgegen.artifacts.keys import Passphrase
from edgegen.core.errors import ToolMissingError, UsageError
from edgegen_runtime.p256 import write_der
from edgegen_runtime.public_keys import ED25519, P256, PublicKey, public_key_of

MODULE = "EDGEGEN_PKCS11_MODULE"
SCHEME = "pkcs11:"

_PARTS = ("token", "object")
# What EC_PARAMS holds: P-256 by its object identifier (RFC 5480), Ed25519 by identifier (RFC 8410) or by name.
_P256_PARAMETERS = bytes.fromhex("06082a8648ce3d030107")
_ED25519_PARAMETERS = (bytes.fromhex("06032b6570"), b"\x13\x0cedwards25519")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSigner:
    """A private key in a token, for as long as its session is open."""

    private: Any  # pkcs11.PrivateKey
    public: PublicKey

    def sign(self, message: bytes) -> bytes:
        """See ``keys.Signing``. ECDSA by a token takes a new random number each time: no two signatures are equal.

        Raises:
            ToolMissingError: the token fails.
        """
        try:
            if self.public.kind == ED25519:
                signature = bytes(self.private.sign(message, mechanism=pkcs11.Mechanism.EDDSA))
            else:
                # The plain mechanism is the one that every token has; it gives r and s side by side.
                digest = hashlib.sha256(message).digest()
                both = bytes(self.private.sign(digest, mechanism=pkcs11.Mechanism.ECDSA))
                half = len(both) // 2
                signature = write_der(int.from_bytes(both[:half], "big"), int.from_bytes(both[half:], "big"))
        except PKCS11Error as error:
            raise _failed(error) from error
        if not self.public.verifies(message, signature):
            raise ToolMissingError("the token gave a signature that does not hold", got=self.public.key_id)
        return signature


@contextmanager
def token_signer(uri: str, pin: Passphrase) -> Iterator[TokenSigner]:
    """The key that a URI names, its token open until the block ends.

    Raises:
        UsageError: no such URI, token or key, a wrong PIN, or a key of another kind.
        ToolMissingError: the module or the token is not there, or fails.
    """
    parts = read_uri(uri)
    try:
        token = pkcs11.lib(parts["module-path"]).get_token(token_label=parts["token"])
        with token.open(user_pin=pin().decode()) as session:
            found = [
                session.get_key(object_class=kind, label=parts["object"])
                for kind in (pkcs11.ObjectClass.PRIVATE_KEY, pkcs11.ObjectClass.PUBLIC_KEY)
            ]
            yield TokenSigner(private=found[0], public=_public(found[1], uri))
    except (
        pkcs11.NoSuchToken,
        pkcs11.NoSuchKey,
        pkcs11.MultipleObjectsReturned,
        pkcs11.MultipleTokensReturned,
    ) as error:
        raise UsageError("the token has no such key, or several", where=uri, got=type(error).__name__) from error
    except (pkcs11.PinIncorrect, pkcs11.PinLenRange, pkcs11.PinInvalid) as error:
        raise UsageError("the PIN is wrong", where=uri, next_step="tokens lock after a few wrong ones") from error
    except (PKCS11Error, RuntimeError) as error:  # RuntimeError: the module cannot be loaded
        raise _failed(error) from error


def read_uri(uri: str) -> dict[str, str]:
    """``token``, ``object`` and ``module-path`` of a URI; the module may stand in ``EDGEGEN_PKCS11_MODULE`` instead.

    Raises:
        UsageError: one is missing, or there is another attribute.
    """
    path, _, query = uri.removeprefix(SCHEME).partition("?")
    pairs = [item.partition("=") for item in (*path.split(";"), *filter(None, query.split("&")))]
    parts = {name: unquote(value) for name, _, value in pairs}
    parts.setdefault("module-path", os.environ.get(MODULE, ""))
    if not uri.startswith(SCHEME) or set(parts) != {*_PARTS, "module-path"} or not all(parts.values()):
        raise UsageError(
            "not the URI of a key in a token",
            got=uri[:200],
            expected=f"pkcs11:token=LABEL;object=LABEL?module-path=FILE, or the module in {MODULE}",
        )
    if not Path(parts["module-path"]).is_file():
        raise ToolMissingError("the PKCS#11 module is not there", where=parts["module-path"])
    return parts


def _public(key: Any, uri: str) -> PublicKey:
    parameters, point = bytes(key[pkcs11.Attribute.EC_PARAMS]), bytes(key[pkcs11.Attribute.EC_POINT])
    if parameters == _P256_PARAMETERS and point[:3] == b"\x04\x41\x04":  # an OCTET STRING of 65 bytes, uncompressed
        return public_key_of(P256, point[3:])
    if parameters in _ED25519_PARAMETERS and point[:2] == b"\x04\x20":
        return public_key_of(ED25519, point[2:])
    raise UsageError("a key of another kind", where=uri, got=parameters.hex(), expected=f"{ED25519} or {P256}")


def _failed(error: Exception) -> ToolMissingError:
    return ToolMissingError("the token fails", got=f"{type(error).__name__}: {error}")
