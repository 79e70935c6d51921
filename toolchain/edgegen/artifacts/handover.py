"""A key's successor: a statement that names the new key, signed by the old one and by the new one."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from edgegen.artifacts.dsse import sealed, statement
from edgegen.core.errors import IntegrityError
from edgegen_runtime.envelope import read_envelope, read_statement, to_be_signed
from edgegen_runtime.public_keys import PublicKey
from edgegen_runtime.strict import RefusedError
from edgegen_runtime.trust import SIGNED_ON, TIME_FORM

if TYPE_CHECKING:
    from edgegen.artifacts.keys import Signer

PREDICATE = "urn:edgegen:key-handover:v1"
SUFFIX = ".handover.json"


def handover(old: Signer, new: Signer, name: str, signed_on: datetime) -> bytes:
    """The envelope that names ``new``, under ``name``, as the successor of ``old``."""
    predicate = {"follows": old.public.key_id, "kind": new.public.kind, SIGNED_ON: signed_on.strftime(TIME_FORM)}
    return sealed(statement(name, new.public.key_id, PREDICATE, predicate), [old, new])


def check_handover(data: bytes, old: PublicKey, new: PublicKey) -> None:
    """Refuses a successor that the old key did not name, or that does not hold the new key itself.

    Raises:
        IntegrityError: why not.
    """
    what = "the handover"
    try:
        envelope = read_envelope(data, what)
        said = read_statement(envelope, what)
    except RefusedError as error:
        raise IntegrityError("the handover cannot be read", got=error) from error
    if (said.predicate_type, said.sha256, said.predicate.get("follows")) != (PREDICATE, new.key_id, old.key_id):
        raise IntegrityError("the handover is about other keys", got=f"sha256:{said.sha256[:64]}", expected=new.key_id)
    for key, word in ((old, "old"), (new, "new")):
        signature = envelope.signatures.get(key.key_id)
        if signature is None or not key.verifies(to_be_signed(envelope.payload), signature):
            raise IntegrityError(f"the handover is not signed by the {word} key", expected=key.key_id)
