"""Cosign's form of a signature: an image at the tag ``sha256-<hex>.sig`` whose layers are "simple signing" payloads.

As sigstore/cosign's specs/SIGNATURE_SPEC.md lays it down. It is written for those who have cosign already and says
nothing of verdicts; edgegen's own policies count the DSSE statements alone.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgegen.artifacts.parse import strict_json
from edgegen.artifacts.sealed import SealedLayout, read_bounded
from edgegen.core.digests import canonical_json
from edgegen.core.errors import IntegrityError
from edgegen.core.store import MANIFEST_TYPE, MAX_MANIFEST_BYTES, Store
from edgegen_runtime.envelope import MAX_SIGNATURES

if TYPE_CHECKING:
    from edgegen.artifacts.keys import Signing

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
KEY_ID = "dev.edgegen.keyid"
"""Annotation of a layer: whose signature it is, so that a key signs once."""

_KIND = "cosign container image signature"
_MAX_PAYLOAD_BYTES = 64 << 10


def sig_tag(core_sha256: str) -> str:
    """Where cosign looks for the signatures of a manifest."""
    return f"sha256-{core_sha256}.sig"


def payload(core_sha256: str, reference: str) -> bytes:
    """What cosign signs.

    Args:
        reference: the name under which the core is published, without a tag.
    """
    image = {"docker-manifest-digest": f"sha256:{core_sha256}"}
    critical = {"identity": {"docker-reference": reference}, "image": image, "type": _KIND}
    return canonical_json({"critical": critical, "optional": {}})


def add_signatures(store: Store, core_sha256: str, reference: str, signers: Sequence[Signing]) -> None:
    """Adds what is missing to the ``.sig`` image of a layout; a key that signed the same payload is left as it is."""
    tag = sig_tag(core_sha256)
    earlier = store.find(tag)
    layers = [] if earlier is None else list(earlier["layers"])
    text = payload(core_sha256, reference)
    blob = store.add_bytes(text)
    for signer in signers:
        mine = [item for item in layers if item.get("annotations", {}).get(KEY_ID) == signer.public.key_id]
        if any(item["digest"] == f"sha256:{blob.sha256}" for item in mine):
            continue
        layers = [item for item in layers if item not in mine]
        signature = base64.b64encode(signer.sign(text)).decode()
        layers.append(
            {
                "mediaType": PAYLOAD_TYPE,
                "digest": f"sha256:{blob.sha256}",
                "size": blob.size_bytes,
                "annotations": {SIGNATURE: signature, KEY_ID: signer.public.key_id},
            }
        )
    config = store.add_bytes(_config(layers))
    manifest = store.add_bytes(
        canonical_json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": {"mediaType": CONFIG_TYPE, "digest": f"sha256:{config.sha256}", "size": config.size_bytes},
                "layers": layers,
            }
        )
    )
    descriptor = {"mediaType": MANIFEST_TYPE, "digest": f"sha256:{manifest.sha256}", "size": manifest.size_bytes}
    store.tag(descriptor, tag)


def check_signatures(layout: SealedLayout, descriptor: Mapping[str, Any], core_sha256: str) -> int:
    """How many signatures the ``.sig`` image of a stranger's layout holds, each about this core.

    Raises:
        IntegrityError: a blob is not what its digest says, or a payload is about something else.
    """
    where = sig_tag(core_sha256)
    manifest = strict_json(
        read_bounded(layout.blob(descriptor, where, MAX_MANIFEST_BYTES).path, MAX_MANIFEST_BYTES), where
    )
    config, layers = manifest.get("config"), manifest.get("layers")
    sound = manifest.get("mediaType") == MANIFEST_TYPE and isinstance(config, dict) and isinstance(layers, list)
    if (
        not sound
        or not 1 <= len(layers or ()) <= MAX_SIGNATURES
        or not all(isinstance(item, dict) for item in layers or ())
    ):
        raise IntegrityError("cosign's signatures are no image of signatures", where=where)
    assert isinstance(config, dict)
    assert isinstance(layers, list)
    layout.blob(config, f"config of {where}", _MAX_PAYLOAD_BYTES)
    for layer in layers:
        text = read_bounded(layout.blob(layer, where, _MAX_PAYLOAD_BYTES).path, _MAX_PAYLOAD_BYTES)
        critical = strict_json(text, where).get("critical")
        image = critical.get("image") if isinstance(critical, dict) else None
        named = image.get("docker-manifest-digest") if isinstance(image, dict) else None
        if named != f"sha256:{core_sha256}":
            raise IntegrityError("a signature of cosign's is about another core", where=where, got=repr(named)[:120])
        _check_annotation(layer.get("annotations"), where)
    return len(layers)


def _check_annotation(annotations: object, where: str) -> None:
    signature = annotations.get(SIGNATURE) if isinstance(annotations, dict) else None
    try:
        data = base64.b64decode(signature, validate=True) if isinstance(signature, str) else b""
    except (binascii.Error, ValueError) as error:
        raise IntegrityError("a signature of cosign's is not base64", where=where, got=error) from error
    if not data:
        raise IntegrityError("a layer of cosign's has no signature", where=where, expected=SIGNATURE)


def _config(layers: Sequence[Mapping[str, Any]]) -> bytes:
    """The image config that cosign writes beside: of no time, no machine, the payloads as its layers."""
    never = "0001-01-01T00:00:00Z"
    return canonical_json(
        {
            "architecture": "",
            "config": {},
            "created": never,
            "history": [{"created": never} for _ in layers],
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
        }
    )
