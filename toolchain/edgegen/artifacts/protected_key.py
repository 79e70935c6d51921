"""A private key under a passphrase, as PKCS#8 has it (RFC 5958, RFC 8018): PBES2 with PBKDF2 and AES-256-CBC.

``cryptography`` writes such files with 2,048 rounds of PBKDF2, and offers no other number; guessing a passphrase is
made 300 times as dear here. Every tool that reads PKCS#8 reads these.
"""

from __future__ import annotations

import base64
import hashlib
import os

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

ROUNDS = 600_000
"""As OWASP's password storage cheat sheet has it for PBKDF2 with HMAC-SHA-256 (2023)."""

_SEQUENCE, _INTEGER, _OCTETS = 0x30, 0x02, 0x04
# Object identifiers of RFC 8018, appendix C, whole with tag and length; the second with its NULL parameters.
_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_PBKDF2 = bytes.fromhex("06092a864886f70d01050c")
_HMAC_SHA256 = bytes.fromhex("300c06082a864886f70d02090500")
_AES_256_CBC = bytes.fromhex("060960864801650304012a")


def protected_pem(key: bytes, passphrase: bytes) -> bytes:
    """The PEM file of a key.

    Args:
        key: the unencrypted PrivateKeyInfo, DER.
    """
    salt, start = os.urandom(16), os.urandom(16)
    secret = hashlib.pbkdf2_hmac("sha256", passphrase, salt, ROUNDS, 32)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(secret), modes.CBC(start)).encryptor()
    content = encryptor.update(padder.update(key) + padder.finalize()) + encryptor.finalize()
    rounds = ROUNDS.to_bytes(ROUNDS.bit_length() // 8 + 1, "big")
    derivation = _der(
        _SEQUENCE,
        _PBKDF2,
        _der(_SEQUENCE, _der(_OCTETS, salt), _der(_INTEGER, rounds), _HMAC_SHA256),
    )
    scheme = _der(_SEQUENCE, derivation, _der(_SEQUENCE, _AES_256_CBC, _der(_OCTETS, start)))
    whole = _der(_SEQUENCE, _der(_SEQUENCE, _PBES2, scheme), _der(_OCTETS, content))
    text = base64.b64encode(whole)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return b"\n".join([b"-----BEGIN ENCRYPTED PRIVATE KEY-----", *lines, b"-----END ENCRYPTED PRIVATE KEY-----", b""])


def _der(tag: int, *parts: bytes) -> bytes:
    """One value: its tag, its length, its parts; at most 65,535 bytes."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        length = bytes([size])
    elif size < 0x100:
        length = bytes([0x81, size])
    else:
        length = bytes([0x82, *size.to_bytes(2, "big")])
    return bytes([tag]) + length + content
