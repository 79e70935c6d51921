"""Keys that never leave a token (PKCS#11), used through python-pkcs11. ``token_uri`` says how they are named."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pkcs11
from pkcs11.exceptions import PKCS11Error

from edgegen.artifacts.keys import Passphrase
from edgegen.artifacts.token_uri import TokenUri, read_uri
from edgegen.core.errors import ToolMissingError, UsageError
from edgegen_runtime.p256 import write_der
from edgegen_runtime.public_keys import ED25519, P256, PublicKey, public_key_of

# What EC_PARAMS holds: P-256 by its object identifier (RFC 5480), Ed25519 by identifier (RFC 8410) or by name.
_P256_PARAMETERS = bytes.fromhex("06082a8648ce3d030107")
_ED25519_PARAMETERS = (bytes.fromhex("06032b6570"), b"\x13\x0cedwards25519")
_CURVES = (pkcs11.KeyType.EC, pkcs11.KeyType.EC_EDWARDS)
# The plain mechanism for P-256 is the one that every token has.
_MECHANISMS = {P256: pkcs11.Mechanism.ECDSA, ED25519: pkcs11.Mechanism.EDDSA}
_MODULUS, _EXPONENT = pkcs11.Attribute.MODULUS, pkcs11.Attribute.PUBLIC_EXPONENT
# What stands before a SHA-256 in PKCS #1 v1.5 (RFC 8017, section 9.2, note 1).
_SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


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
        mechanism = _MECHANISMS[self.public.kind]
        try:
            if self.public.kind == ED25519:
                signature = bytes(self.private.sign(message, mechanism=mechanism))
            else:
                # It gives r and s side by side.
                both = bytes(self.private.sign(hashlib.sha256(message).digest(), mechanism=mechanism))
                half = len(both) // 2
                signature = write_der(int.from_bytes(both[:half], "big"), int.from_bytes(both[half:], "big"))
        except PKCS11Error as error:
            raise _failed(error, self.public.key_id) from error
        if not self.public.verifies(message, signature):
            raise ToolMissingError("the token gave a signature that does not hold", got=self.public.key_id)
        return signature


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRsa:
    """A private key of RSA in a token, for receivers who want one: bundles and releases are not signed by it."""

    private: Any  # pkcs11.PrivateKey
    modulus: int
    exponent: int
    uri: str

    def sign(self, message: bytes) -> bytes:
        """PKCS #1 v1.5 with SHA-256: equal messages give equal signatures.

        Raises:
            ToolMissingError: the token fails.
        """
        whole = _SHA256_INFO + hashlib.sha256(message).digest()
        try:
            return bytes(self.private.sign(whole, mechanism=pkcs11.Mechanism.RSA_PKCS))
        except PKCS11Error as error:
            raise _failed(error, self.uri) from error


class Tokens:
    """Tokens that are open until the block ends, each logged into once however many of its keys are used.

    A login is the program's, not the session's (PKCS #11 2.40, section 5.6): a second one is refused, and closing one
    session would take the login from the other. And a wrong PIN is tried once: tokens lock after a few.
    """

    def __init__(self) -> None:
        self._open = ExitStack()
        self._sessions: dict[tuple[str, str], Any] = {}

    def __enter__(self) -> Tokens:
        return self

    def __exit__(self, *raised: object) -> None:
        self._open.close()

    def signer(self, uri: str, pin: Passphrase) -> TokenSigner:
        """The key that a URI names.

        Args:
            pin: asked only where the URI leads to no PIN and the token is not open yet.

        Raises:
            UsageError: no such URI or key, several of them, a wrong PIN, or a key of another kind.
            ToolMissingError: the module or the token is not there, is locked, cannot sign so, or fails.
        """
        session, private, point = self._objects(uri, pin)
        public = _public(point, uri)
        _check_offered(session, _MECHANISMS[public.kind], uri)
        return TokenSigner(private=private, public=public)

    def rsa(self, uri: str, pin: Passphrase) -> TokenRsa | None:
        """The RSA key that a URI names, None if it names one of another kind. Raises as ``signer``."""
        session, private, point = self._objects(uri, pin)
        if point.key_type != pkcs11.KeyType.RSA:
            return None
        _check_offered(session, pkcs11.Mechanism.RSA_PKCS, uri)
        numbers = (int.from_bytes(bytes(point[name]), "big") for name in (_MODULUS, _EXPONENT))
        modulus, exponent = numbers
        return TokenRsa(private=private, modulus=modulus, exponent=exponent, uri=uri)

    def _objects(self, uri: str, pin: Passphrase) -> tuple[Any, Any, Any]:
        """The session, the private and the public object."""
        named = read_uri(uri)
        session = self._session(named, pin)
        try:
            private, point = (
                session.get_key(object_class=kind, label=named.label)
                for kind in (pkcs11.ObjectClass.PRIVATE_KEY, pkcs11.ObjectClass.PUBLIC_KEY)
            )
        except pkcs11.NoSuchKey as error:
            raise UsageError(
                "the token has no such key",
                where=uri,
                got=named.label,
                expected="the label of a private and of a public object",
            ) from error
        except pkcs11.MultipleObjectsReturned as error:
            raise UsageError("several keys in the token have that label", where=uri, got=named.label) from error
        except PKCS11Error as error:
            raise _failed(error, uri) from error
        return session, private, point

    def _session(self, named: TokenUri, pin: Passphrase) -> Any:
        place = named.module, named.token
        if place in self._sessions:
            return self._sessions[place]
        try:
            token = _library(named.module).get_token(token_label=named.token)
            check_tries(token.flags, named.text)
            session = token.open(user_pin=_text(named.pin() or pin(), named.text))
        except pkcs11.NoSuchToken as error:
            raise ToolMissingError("the token is not there", where=named.text, got=named.token) from error
        except pkcs11.MultipleTokensReturned as error:
            raise UsageError("several tokens have that label", where=named.text, got=named.token) from error
        except (pkcs11.PinIncorrect, pkcs11.PinLenRange, pkcs11.PinInvalid) as error:
            raise UsageError(
                "the PIN is wrong", where=named.text, got=type(error).__name__,
                next_step="it was tried once; tokens lock after a few wrong ones",
            ) from error  # fmt: skip
        except pkcs11.PinLocked as error:
            raise ToolMissingError(
                "the token is locked: too many wrong PINs",
                where=named.text,
                next_step="its security officer can set another PIN",
            ) from error
        except PKCS11Error as error:
            raise _failed(error, named.text) from error
        self._open.callback(_close, session)
        self._sessions[place] = session
        return session


@contextmanager
def token_signer(uri: str, pin: Passphrase) -> Iterator[TokenSigner]:
    """The key that a URI names, its token open until the block ends. Raises as ``Tokens.signer``."""
    with Tokens() as tokens:
        yield tokens.signer(uri, pin)


def check_tries(flags: pkcs11.TokenFlag, uri: str) -> None:
    """Leaves alone a token that one more wrong PIN would lock. Raises UsageError."""
    if pkcs11.TokenFlag.USER_PIN_FINAL_TRY in flags:
        raise UsageError(
            "one more wrong PIN would lock the token, so none is tried", where=uri,
            next_step="log in with the token's own program; the right PIN gives it all its tries back",
        )  # fmt: skip


def _library(module: str) -> Any:
    try:
        return pkcs11.lib(module)
    except (PKCS11Error, RuntimeError) as error:  # which of them depends on the release of python-pkcs11
        raise ToolMissingError("the PKCS#11 module cannot be loaded", where=module, got=error) from error


def _check_offered(session: Any, wanted: pkcs11.Mechanism, uri: str) -> None:
    try:
        offered = session.token.slot.get_mechanisms()
    except PKCS11Error as error:
        raise _failed(error, uri) from error
    if wanted not in offered:
        raise ToolMissingError(
            "the token cannot sign with such a key", where=uri, expected=f"mechanism CKM_{wanted.name}"
        )


def _text(pin: bytes, uri: str) -> str:
    try:
        return pin.decode()
    except UnicodeDecodeError as error:
        raise UsageError("the PIN is no text", where=uri, got=error.reason, expected="UTF-8") from error


def _close(session: Any) -> None:
    try:
        session.close()
    except PKCS11Error as error:
        raise _failed(error, str(session.token)) from error


def _public(key: Any, uri: str) -> PublicKey:
    parameters = bytes(key[pkcs11.Attribute.EC_PARAMS]) if key.key_type in _CURVES else b""
    point = bytes(key[pkcs11.Attribute.EC_POINT]) if parameters else b""
    if parameters == _P256_PARAMETERS and point[:3] == b"\x04\x41\x04":  # an OCTET STRING of 65 bytes, uncompressed
        return public_key_of(P256, point[3:])
    if parameters in _ED25519_PARAMETERS and point[:2] == b"\x04\x20":
        return public_key_of(ED25519, point[2:])
    raise UsageError(
        "a key of another kind", where=uri, got=f"{key.key_type.name} {parameters.hex()}".strip(),
        expected=f"{ED25519} or {P256}",
    )  # fmt: skip


def _failed(error: Exception, where: str) -> ToolMissingError:
    return ToolMissingError("the token fails", where=where, got=f"{type(error).__name__}: {error}".removesuffix(": "))
