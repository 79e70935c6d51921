"""Files of TUF metadata: read, and signed by keys in files or in tokens alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from securesystemslib.signer import Signature, SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata

from edgegen.artifacts.keys import Signing
from edgegen.artifacts.release_records import MAX_METADATA_BYTES
from edgegen.core.errors import UsageError
from edgegen.core.given_file import read_file
from edgegen_runtime.public_keys import PublicKey


def read_metadata(path: Path, kind: type[Any]) -> Metadata[Any]:
    """Metadata in a file, their signatures not looked at. Raises UsageError: unreadable, or of another kind."""
    return parse_metadata(metadata_bytes(path), path, kind)


def parse_metadata(data: bytes, path: Path, kind: type[Any]) -> Metadata[Any]:
    """As ``read_metadata``, of bytes that were read already."""
    try:
        found: Metadata[Any] = Metadata.from_bytes(data)
    except RepositoryError as error:
        raise UsageError("metadata cannot be read", where=str(path), got=error) from error
    if not isinstance(found.signed, kind):
        raise UsageError("metadata of another kind", where=str(path), got=type(found.signed).__name__)
    return found


def metadata_bytes(path: Path) -> bytes:
    """A file of metadata as it stands. Raises UsageError."""
    return read_file(path, "a metadata file", limit_bytes=MAX_METADATA_BYTES)


def signed_by(role: Metadata[Any], signers: Sequence[Signing]) -> Metadata[Any]:
    """The role with the signatures of these keys, and no others.

    The forms are TUF's own: 64 bytes of Ed25519 (``ed25519``), DER of ECDSA with SHA-256 (``ecdsa-sha2-nistp256``).

    Raises:
        ToolMissingError: a token fails.
    """
    # Not by ``Metadata.sign``, which would make an error of its own out of what a token says.
    signatures = [Signature(signer.public.key_id, signer.sign(role.signed_bytes).hex()) for signer in signers]
    role.signatures = {item.keyid: item for item in signatures}
    return role


def tuf_key(key: PublicKey) -> SSlibKey:
    """The key as TUF has it, under its own id: the same wherever the private half lies."""
    public = load_der_public_key(key.der)
    assert isinstance(public, (Ed25519PublicKey, EllipticCurvePublicKey))
    return SSlibKey.from_crypto(public, keyid=key.key_id)
