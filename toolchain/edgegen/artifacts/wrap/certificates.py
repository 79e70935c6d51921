"""Keys with a certificate, as RAUC and SWUpdate want them, and the detached CMS signature of RFC 5652."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs7

from edgegen.artifacts.token_uri import in_token
from edgegen.artifacts.wrap.order import Tools
from edgegen.artifacts.wrap.token_private import token_private
from edgegen.core.errors import UsageError

_MAX_FILE_BYTES = 256 << 10
_LEAST_RSA_BITS = 2048


Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """A private key with its certificate."""

    private: Private
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]  # that the certificate's file holds behind it

    @property
    def repeats(self) -> bool:
        """Whether equal contents get equal signatures: an ECDSA one holds a random number."""
        return isinstance(self.private, rsa.RSAPrivateKey)


@contextmanager
def opened_private(key: str, tools: Tools) -> Iterator[Private]:
    """The private key in a PEM file, or in a token, which is open until the block ends.

    A passphrase is asked for only where there is one.

    Raises:
        UsageError: it cannot be read or opened, or is neither RSA (2,048 bits or more) nor on P-256.
        ToolMissingError: the token is not there, or fails.
    """
    if in_token(key):
        with token_private(key, tools) as private:
            yield _suited(private, key)
    else:
        yield _read_private(Path(key), tools)


def _read_private(path: Path, tools: Tools) -> Private:
    data = _read(path, "private key")
    secret = tools.passphrase(str(path)) if b"ENCRYPTED" in data else None
    try:
        private: Any = serialization.load_pem_private_key(data, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(
            "the private key cannot be opened",
            where=str(path),
            got=error,
            expected="an RSA or P-256 key as PEM, and its passphrase",
        ) from error
    return _suited(private, str(path))


def _suited(private: Any, where: str) -> Private:
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size >= _LEAST_RSA_BITS:
        return private
    if isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(private.curve, ec.SECP256R1):
        return private
    raise UsageError(
        "this form takes no such key",
        where=where,
        got=type(private).__name__,
        expected=f"RSA with {_LEAST_RSA_BITS} bits or more, or ECDSA on P-256",
    )


@contextmanager
def opened_certified(key: str, certificate: str, tools: Tools) -> Iterator[Certified]:
    """A key and the certificate that is about it; what else the certificate's file holds is its chain.

    Raises:
        UsageError: one cannot be read, or the certificate is about another key.
        ToolMissingError: as ``opened_private``.
    """
    with opened_private(key, tools) as private:
        try:
            found = x509.load_pem_x509_certificates(read_pem(Path(certificate)))
        except ValueError as error:
            raise UsageError("the certificate cannot be read", where=certificate, got=error, expected="PEM") from error
        form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        if found[0].public_key().public_bytes(*form) != private.public_key().public_bytes(*form):
            raise UsageError("the certificate is about another key", where=certificate, expected=f"that of {key}")
        yield Certified(private=private, certificate=found[0], chain=tuple(found[1:]))


def cms_signature(data: bytes, signer: Certified) -> bytes:
    """A detached CMS signature, DER, without attributes: with an RSA key the same bytes every time."""
    builder = pkcs7.PKCS7SignatureBuilder().set_data(data)
    builder = builder.add_signer(signer.certificate, signer.private, hashes.SHA256())
    for certificate in signer.chain:
        builder = builder.add_certificate(certificate)
    options = pkcs7.PKCS7Options
    chosen = [options.DetachedSignature, options.Binary, options.NoAttributes]
    return builder.sign(serialization.Encoding.DER, chosen)


def read_pem(path: Path) -> bytes:
    """A file of certificates as it stands. Raises UsageError."""
    return _read(path, "certificate")


def pem(certificates: tuple[x509.Certificate, ...]) -> bytes:
    """Certificates as one PEM file."""
    return b"".join(item.public_bytes(serialization.Encoding.PEM) for item in certificates)


def _read(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"the {what} cannot be read", where=str(path), got=error.strerror) from error
    if len(data) > _MAX_FILE_BYTES:
        raise UsageError(f"too large for a {what}", where=str(path), expected=f"<= {_MAX_FILE_BYTES} bytes")
    return data
