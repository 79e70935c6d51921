"""Envelopes: what they are to others, and which are refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from securesystemslib.dsse import Envelope as OthersEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from edgegen.artifacts.dsse import sealed, statement
from edgegen_runtime.envelope import read_envelope, read_statement, to_be_signed
from edgegen_runtime.strict import RefusedError
from unit.artifacts.signed_bundle import signer

DOCUMENT = statement("thing", "ab" * 32, "urn:test", {"a": 1})


def envelope(**changes: Any) -> dict[str, Any]:
    return json.loads(sealed(DOCUMENT, [signer("a")])) | changes


def test_to_be_signed_is_dsses_own_example() -> None:
    # The example of the protocol's own page (secure-systems-lab/dsse, protocol.md).
    assert to_be_signed(b"hello world", "http://example.com/HelloWorld") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@pytest.mark.parametrize("name", ["a", "ec"])
def test_sealed_envelopes_are_read_by_securesystemslib(name: str) -> None:
    mine, other = signer(name), signer("other")
    theirs = OthersEnvelope.from_dict(json.loads(sealed(DOCUMENT, [mine])))
    keys = [SSlibKey.from_crypto(item.private.public_key(), keyid=item.public.key_id) for item in (mine, other)]
    assert theirs.verify([keys[0]], 1).keys() == {mine.public.key_id}
    with pytest.raises(VerificationError):
        theirs.verify([keys[1]], 1)
    assert json.loads(theirs.payload) == DOCUMENT


def test_sealed_envelopes_are_read_back() -> None:
    found = read_envelope(sealed(DOCUMENT, [signer("a"), signer("ec")]), "x")
    assert set(found.signatures) == {signer("a").public.key_id, signer("ec").public.key_id}
    said = read_statement(found, "x")
    assert (said.name, said.sha256, said.predicate_type, said.predicate) == ("thing", "ab" * 32, "urn:test", {"a": 1})
    for name in ("a", "ec"):
        public = signer(name).public
        assert public.verifies(to_be_signed(found.payload), found.signatures[public.key_id])


SIGNATURE = envelope()["signatures"][0]
HOSTILE = {
    "another payload type": envelope(payloadType="text/plain"),
    "an unknown key": envelope(more=1),
    "no signature": envelope(signatures=[]),
    "too many signatures": envelope(signatures=[{"keyid": f"{n:064x}", "sig": "AA=="} for n in range(17)]),
    "signatures that are no list": envelope(signatures={}),
    "a signature that is a text": envelope(signatures=["x"]),
    "a signature without a key": envelope(signatures=[{"sig": "AA=="}]),
    "a key id in capitals": envelope(signatures=[{**SIGNATURE, "keyid": "A" * 64}]),
    "one key twice": envelope(signatures=[SIGNATURE, SIGNATURE]),
    "a signature that is no base64": envelope(signatures=[{**SIGNATURE, "sig": "!"}]),
    "a signature that is empty": envelope(signatures=[{**SIGNATURE, "sig": ""}]),
    "a signature that is a number": envelope(signatures=[{**SIGNATURE, "sig": 1}]),
    "base64 with other last bits": envelope(payload="QUJD" + "RR=="),
    "base64 in two lines": envelope(payload="QUJD\nQUJD"),
    "a payload that is not ASCII": envelope(payload="Ä"),
    "a payload that is absent": {key: value for key, value in envelope().items() if key != "payload"},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_read_envelope_refuses(name: str) -> None:
    with pytest.raises(RefusedError):
        read_envelope(json.dumps(HOSTILE[name]).encode(), "x")


def test_read_envelope_is_bounded() -> None:
    with pytest.raises(RefusedError, match="larger"):
        read_envelope(b" " * (2 << 20), "x")


@pytest.mark.parametrize(
    "changes",
    [
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"subject": []},
        {"subject": [DOCUMENT["subject"][0]] * 2},
        {"subject": ["x"]},
        {"subject": [{"name": "x", "digest": {}}]},
        {"subject": [{"name": 1, "digest": {"sha256": "0"}}]},
        {"predicate": []},
        {"predicateType": None},
        {"more": 1},
    ],
)
def test_read_statement_refuses(changes: dict[str, Any]) -> None:
    payload = base64.b64encode(json.dumps(DOCUMENT | changes).encode()).decode()
    with pytest.raises(RefusedError):
        read_statement(read_envelope(json.dumps(envelope(payload=payload)).encode(), "x"), "x")
