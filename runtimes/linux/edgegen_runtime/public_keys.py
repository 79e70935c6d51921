"""Public keys as PEM files: Ed25519 and ECDSA on P-256, as their SubjectPublicKeyInfo says (RFC 8410, RFC 5480)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from edgegen_runtime import ed25519, p256
from edgegen_runtime.strict import RefusedError

ED25519 = "ed25519"
P256 = "ecdsa-p256"

_MAX_FILE_BYTES = 16 << 10
_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----")
# The DER of these keys has no choices, so all before the key itself is a constant.
_ED25519_HEAD = bytes.fromhex("302a300506032b6570032100")
_P256_HEAD = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key that signatures are checked with."""

    kind: str  # ED25519 or P256
    raw: bytes  # Ed25519: 32 bytes; P-256: x and y, 32 bytes each, big-endian
    der: bytes  # SubjectPublicKeyInfo

    @property
    def key_id(self) -> str:
        """Lower-case hex sha256 of the SubjectPublicKeyInfo: ``openssl pkey -pubin -outform DER | sha256sum``."""
        return hashlib.sha256(self.der).hexdigest()

    def verifies(self, message: bytes, signature: bytes, *, plain: bool = False) -> bool:
        """Whether ``signature`` is this key's over ``message``.

        Args:
            plain: in plain Python even where ``cryptography`` is installed.
        """
        answer = None if plain else _with_library(self, message, signature)
        if answer is None:
            scheme = ed25519.verify if self.kind == ED25519 else p256.verify
            return scheme(self.raw, message, signature)
        return answer


def read_public_key(path: Path) -> PublicKey:
    """The key in a PEM file.

    Raises:
        RefusedError: the file cannot be read, or ``parse_public_key`` refuses it.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise RefusedError(f"the public key {path} cannot be read: {error.strerror}") from error
    return parse_public_key(data, str(path))


def parse_public_key(pem: bytes, what: str) -> PublicKey:
    """The key in the bytes of a PEM file.

    Raises:
        RefusedError: not one PEM block of a public key, of another scheme, or no sound point of its curve.
    """
    blocks = _PEM.findall(pem) if len(pem) <= _MAX_FILE_BYTES else []
    if len(blocks) != 1:
        raise RefusedError(f"{what} holds no PEM public key (-----BEGIN PUBLIC KEY-----), or more than one")
    try:
        der = base64.b64decode(b"".join(blocks[0].split()), validate=True)
    except binascii.Error as error:
        raise RefusedError(f"{what} is a damaged PEM file: {error}") from error
    for kind, head, sound in ((ED25519, _ED25519_HEAD, ed25519.is_public_key), (P256, _P256_HEAD, p256.is_public_key)):
        raw = der.removeprefix(head)
        if raw != der:
            if not sound(raw):
                raise RefusedError(f"{what} holds no sound {kind} key")
            return PublicKey(kind=kind, raw=raw, der=der)
    raise RefusedError(f"{what} holds a key of another kind; known are Ed25519 and ECDSA on P-256 (uncompressed)")


def public_key_of(kind: str, raw: bytes) -> PublicKey:
    """The key of a known kind whose bytes are ``raw`` (see ``PublicKey``)."""
    head = _ED25519_HEAD if kind == ED25519 else _P256_HEAD
    return PublicKey(kind=kind, raw=raw, der=head + raw)


def public_pem(key: PublicKey) -> str:
    """The key as a PEM file."""
    text = base64.b64encode(key.der).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])


def _with_library(key: PublicKey, message: bytes, signature: bytes) -> bool | None:
    """The answer of ``cryptography``; None where it is not installed."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.hashes import SHA256
    except ImportError:
        return None
    try:
        if key.kind == ED25519:
            Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, message)
        else:
            point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + key.raw)
            point.verify(signature, message, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True
