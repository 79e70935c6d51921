"""Bundles in other forms, and keys with certificates to sign them with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgegen.artifacts.policy import Policy
from edgegen.artifacts.wrap.order import Wrapped, wrap_as

PASSPHRASE = b"long enough"


def nobody_is_asked(path: str) -> bytes:
    raise AssertionError(f"the passphrase of {path} was asked for")


def wrapped(
    form: str,
    bundle: Path,
    out: Path,
    *,
    policy: Policy | None = None,
    passphrase: Callable[[str], bytes] = nobody_is_asked,
    **options: Any,
) -> Wrapped:
    """The bundle as ``form`` at ``out``."""
    return wrap_as(form, bundle, out, options, policy=policy, passphrase=passphrase)


@cache
def private_key(kind: str) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    """A key that is the same for the length of a run; ``kind`` begins with ``rsa`` or ``ec``."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1())


def certified(folder: Path, kind: str, *, protected: bool = False) -> dict[str, str]:
    """Writes a key and a certificate of its own; returns the options that name them."""
    _write(folder, kind, [_certificate(kind, kind)], protected=protected)
    return {"signing_key": str(folder / f"{kind}.key"), "certificate": str(folder / f"{kind}.crt")}


def issued(folder: Path, kind: str) -> dict[str, str]:
    """The same by an authority, over one between: the certificate's file holds both, ``ca`` the authority's alone."""
    root, between = f"{kind}-root", f"{kind}-between"
    _write(folder, kind, [_certificate(kind, between), _certificate(between, root)])
    (folder / "ca.pem").write_bytes(_certificate(root, root).public_bytes(serialization.Encoding.PEM))
    names = {"signing_key": f"{kind}.key", "certificate": f"{kind}.crt", "ca": "ca.pem"}
    return {option: str(folder / name) for option, name in names.items()}


def _certificate(kind: str, issuer: str) -> x509.Certificate:
    authority = kind == issuer or kind.endswith("-between")
    now = datetime.now(UTC)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.EMAIL_PROTECTION])
    return (
        x509.CertificateBuilder()
        .subject_name(_name(kind))
        .issuer_name(_name(issuer))
        .public_key(private_key(kind).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=False)
        .sign(private_key(issuer), hashes.SHA256())
    )


def _name(kind: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"release {kind}")])


def _write(folder: Path, kind: str, certificates: list[x509.Certificate], *, protected: bool = False) -> None:
    secret: Any = serialization.BestAvailableEncryption(PASSPHRASE) if protected else serialization.NoEncryption()
    folder.mkdir(parents=True, exist_ok=True)
    private, pem = private_key(kind), serialization.Encoding.PEM
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    (folder / f"{kind}.key").write_bytes(private.private_bytes(pem, serialization.PrivateFormat.PKCS8, secret))
    (folder / f"{kind}.crt").write_bytes(b"".join(item.public_bytes(pem) for item in certificates))
    (folder / f"{kind}.pub").write_bytes(private.public_key().public_bytes(pem, public))
