"""DSSE envelopes (secure-systems-lab/dsse, protocol 1.0.0) around in-toto statements (in-toto attestation, v1)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgegen_runtime.strict import RefusedError, strict_json

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
MAX_ENVELOPE_BYTES = 1 << 20
MAX_SIGNATURES = 16

_KEY_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A signed payload."""

    payload: bytes
    signatures: Mapping[str, bytes]  # key id -> signature over ``to_be_signed(payload)``


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What an envelope says of one artifact."""

    name: str
    sha256: str  # of the artifact, hex
    predicate_type: str
    predicate: Mapping[str, Any]


def to_be_signed(payload: bytes, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """DSSE's pre-authentication encoding: ``DSSEv1 <length> <type> <length> <payload>``."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def read_envelope(data: bytes, what: str) -> Envelope:
    """The envelope in ``data``; nothing is known yet of who signed it.

    Raises:
        RefusedError: too large, not an envelope of an in-toto statement, no or too many signatures.
    """
    if len(data) > MAX_ENVELOPE_BYTES:
        raise RefusedError(f"{what} is larger than an envelope may be: at most {MAX_ENVELOPE_BYTES} bytes")
    table = strict_json(data, what)
    signatures = table.get("signatures")
    if set(table) != {"payload", "payloadType", "signatures"} or not isinstance(signatures, list):
        raise RefusedError(f"{what} is no DSSE envelope: expected payload, payloadType and signatures")
    if table["payloadType"] != PAYLOAD_TYPE:
        raise RefusedError(f"{what} holds another payload than an in-toto statement: {table['payloadType']!r:.80}")
    if not 1 <= len(signatures) <= MAX_SIGNATURES:
        raise RefusedError(f"{what} has {len(signatures)} signatures; expected 1 to {MAX_SIGNATURES}")
    found: dict[str, bytes] = {}
    for item in signatures:
        key_id = item.get("keyid") if isinstance(item, dict) and set(item) == {"keyid", "sig"} else None
        if not isinstance(key_id, str) or not _KEY_ID.fullmatch(key_id) or key_id in found:
            raise RefusedError(f"{what} has a signature without a usable key id, or two of one key")
        found[key_id] = _bytes(item["sig"], f"the signature in {what}")
    return Envelope(payload=_bytes(table["payload"], f"the payload of {what}"), signatures=found)


def read_statement(envelope: Envelope, what: str) -> Statement:
    """The statement in an envelope.

    Raises:
        RefusedError: the payload is no in-toto statement about exactly one artifact.
    """
    table = strict_json(envelope.payload, f"the payload of {what}")
    subject, predicate = table.get("subject"), table.get("predicate")
    if set(table) != {"_type", "subject", "predicateType", "predicate"} or table["_type"] != STATEMENT_TYPE:
        raise RefusedError(f"{what} holds no in-toto statement of version 1")
    if not isinstance(subject, list) or len(subject) != 1 or not isinstance(subject[0], dict):
        raise RefusedError(f"{what} is not about exactly one artifact")
    name, digest = subject[0].get("name"), subject[0].get("digest")
    sha256 = digest.get("sha256") if isinstance(digest, dict) else None
    texts = (name, sha256, table["predicateType"])
    if not all(isinstance(text, str) for text in texts) or not isinstance(predicate, dict):
        raise RefusedError(f"{what} does not say what it is about, or says nothing of it")
    return Statement(name=str(name), sha256=str(sha256), predicate_type=str(texts[2]), predicate=predicate)


def _bytes(text: object, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError) as error:
        raise RefusedError(f"{what} is not base64: {error}") from error
    # One text a value: another spelling of the same bytes is somebody's doing.
    if not data or base64.b64encode(data).decode() != text:
        raise RefusedError(f"{what} is not base64")
    return data
