"""Writes DSSE envelopes around in-toto statements; ``edgegen_runtime.envelope`` reads them, here and on devices."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.digests import canonical_json
from edgegen_runtime.envelope import PAYLOAD_TYPE, STATEMENT_TYPE, to_be_signed

if TYPE_CHECKING:
    from edgegen.artifacts.keys import Signing


def statement(name: str, sha256: str, predicate_type: str, predicate: Mapping[str, Any]) -> dict[str, Any]:
    """An in-toto Statement v1 about one artifact.

    Args:
        sha256: hex digest of the artifact.
    """
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": sha256}}],
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }


def sealed(document: Mapping[str, Any], signers: Sequence[Signing]) -> bytes:
    """The envelope of a statement, one signature a signer, as canonical JSON: one line, sorted keys."""
    payload = canonical_json(dict(document))
    return canonical_json(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [
                {
                    "keyid": signer.public.key_id,
                    "sig": base64.b64encode(signer.sign(to_be_signed(payload))).decode(),
                }
                for signer in signers
            ],
        }
    )
