"""Private keys as PEM files: Ed25519 and ECDSA on P-256, PKCS#8 under a passphrase, never overwritten.

A key NAME is two files: ``NAME.key``, readable by its owner alone, and ``NAME.pub`` to give away. A key's id is the
sha256 of its SubjectPublicKeyInfo, so every tool finds the same one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgegen.artifacts.policy import trusted_key
from edgegen.artifacts.protected_key import protected_pem
from edgegen.core.errors import BuildError, UsageError
from edgegen.core.given_file import read_file
from edgegen_runtime.public_keys import ED25519, P256, PublicKey, parse_public_key

KINDS = (ED25519, P256)
PRIVATE_SUFFIX = ".key"
PUBLIC_SUFFIX = ".pub"

Passphrase = Callable[[], bytes]
"""Gives the passphrase; asked only where a key has one."""

_MAX_FILE_BYTES = 64 << 10
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PRIVATE_MODE, _PUBLIC_MODE = 0o600, 0o644


class Signing(Protocol):
    """What signs: a key in a file, or one in a token."""

    @property
    def public(self) -> PublicKey:
        """The half to give away."""

    def sign(self, message: bytes) -> bytes:
        """The signature of ``message``: Ed25519's 64 bytes, or ECDSA with SHA-256 as DER."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A private key that is ready to sign."""

    private: Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    public: PublicKey

    def sign(self, message: bytes) -> bytes:
        """See Signing. Equal messages give equal signatures: Ed25519 by its nature, ECDSA by RFC 6979."""
        if isinstance(self.private, Ed25519PrivateKey):
            return self.private.sign(message)
        return self.private.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFiles:
    """A key in a folder."""

    name: str
    kind: str
    key_id: str
    public_path: Path
    private_path: Path | None  # None: only the public half is here
    encrypted: bool


def new_key(folder: Path, name: str, kind: str, passphrase: bytes | None) -> KeyFiles:
    """Makes a key and writes both files; the private one appears first, with its mode, and nothing is replaced.

    Args:
        passphrase: what the private file is encrypted with; None writes it in the clear.

    Raises:
        UsageError: no name for a file, an empty passphrase, or files of that name are there already.
        BuildError: the folder cannot be written to.
    """
    if not _NAME.fullmatch(name):
        raise UsageError("not a name for a key", got=name[:80], expected="letters, digits and . _ - (at most 64)")
    if passphrase == b"":
        raise UsageError("the passphrase is empty", next_step="give one, or --no-passphrase for a key in the clear")
    private_path, public_path = folder / f"{name}{PRIVATE_SUFFIX}", folder / f"{name}{PUBLIC_SUFFIX}"
    private = Ed25519PrivateKey.generate() if kind == ED25519 else ec.generate_private_key(ec.SECP256R1())
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (private_path, public_path):
            if os.path.lexists(path):
                raise _is_there(path)
        _write_new(private_path, _private_pem(private, passphrase), _PRIVATE_MODE)
        _write_new(public_path, public_pem(private), _PUBLIC_MODE)
    except FileExistsError as error:
        raise _is_there(Path(str(error.filename))) from error
    except OSError as error:
        raise BuildError("the key cannot be written", where=str(folder), got=error) from error
    public = parse_public_key(public_pem(private), str(public_path))
    return KeyFiles(
        name=name,
        kind=kind,
        key_id=public.key_id,
        public_path=public_path,
        private_path=private_path,
        encrypted=passphrase is not None,
    )


def load_signer(path: Path, passphrase: Passphrase) -> Signer:
    """The private key in a PEM file.

    Raises:
        UsageError: the file cannot be read, is no private key of a known kind, or the passphrase is wrong.
    """
    data = _read(path)
    secret = passphrase() if _is_encrypted(data) else None
    try:
        private = serialization.load_pem_private_key(data, secret)
    except (ValueError, TypeError) as error:
        raise UsageError(
            "the private key cannot be opened",
            where=str(path),
            got=error,
            expected="an Ed25519 or P-256 key as PEM (PKCS#8), and its passphrase",
        ) from error
    known = isinstance(private, Ed25519PrivateKey) or (
        isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(private.curve, ec.SECP256R1)
    )
    if not known:
        raise UsageError(
            "a private key of another kind", where=str(path), got=type(private).__name__, expected=" or ".join(KINDS)
        )
    assert isinstance(private, (Ed25519PrivateKey, ec.EllipticCurvePrivateKey))
    return Signer(private=private, public=parse_public_key(public_pem(private), str(path)))


def list_keys(folder: Path) -> list[KeyFiles]:
    """Every key in a folder by name; a private file without its public half is left out. No passphrase is asked.

    Raises:
        UsageError: a file that has a key's name is none.
    """
    found = []
    for public_path in sorted(folder.glob(f"*{PUBLIC_SUFFIX}")):
        public = trusted_key(public_path).key
        private_path = public_path.with_suffix(PRIVATE_SUFFIX)
        here = private_path.is_file()
        found.append(
            KeyFiles(
                name=public_path.stem,
                kind=public.kind,
                key_id=public.key_id,
                public_path=public_path,
                private_path=private_path if here else None,
                encrypted=here and _is_encrypted(_read(private_path)),
            )
        )
    return found


def keys_folder() -> Path:
    """Where keys are kept unless the caller says otherwise: ``EDGEGEN_KEYS``, else beside the user's settings."""
    if os.environ.get("EDGEGEN_KEYS"):
        return Path(os.environ["EDGEGEN_KEYS"])
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "edgegen" / "keys"


def next_name(folder: Path, name: str) -> str:
    """The name of the key that follows ``name``: ``release`` -> ``release-2`` -> ``release-3``; the first free one."""
    stem, _, number = name.rpartition("-")
    stem, at = (stem, int(number)) if stem and number.isdecimal() else (name, 1)
    while True:
        at += 1
        following = f"{stem}-{at}"
        if not any(os.path.lexists(folder / f"{following}{end}") for end in (PRIVATE_SUFFIX, PUBLIC_SUFFIX)):
            return following


def public_pem(private: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """The public half as a PEM file (SubjectPublicKeyInfo)."""
    return private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _private_pem(private: Ed25519PrivateKey | ec.EllipticCurvePrivateKey, passphrase: bytes | None) -> bytes:
    form, clear = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    if passphrase is None:
        return private.private_bytes(serialization.Encoding.PEM, form, clear)
    return protected_pem(private.private_bytes(serialization.Encoding.DER, form, clear), passphrase)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as sink:
        os.fchmod(sink.fileno(), mode)  # whatever the umask took away
        sink.write(data)
        sink.flush()
        os.fsync(sink.fileno())


def _is_there(path: Path) -> UsageError:
    return UsageError(
        "there is a key of that name already",
        where=str(path),
        next_step="take another name: a key is never overwritten",
    )


def _is_encrypted(data: bytes) -> bool:
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in data or b"Proc-Type: 4,ENCRYPTED" in data


def _read(path: Path) -> bytes:
    return read_file(path, "the key", limit_bytes=_MAX_FILE_BYTES)
