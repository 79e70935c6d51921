"""A Mender artifact, format version 3, for an update module.

Format: https://github.com/mendersoftware/mender-artifact/blob/master/Documentation/artifact-format-v3.md.
The payload is that of Mender's own module ``directory``: ``dest_dir`` and ``update.tar``. ``edgegen-model.sh`` beside
this file is the module that has ``edgegen_runtime`` check it and put it into the free one of two slots.
"""

from __future__ import annotations

import base64
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from edgegen.artifacts.wrap.certificates import Private, opened_private
from edgegen.artifacts.wrap.held import Held
from edgegen.artifacts.wrap.naming import dashed, device_folder, plain
from edgegen.artifacts.wrap.order import Made, Tools
from edgegen.artifacts.wrap.packing import Member, gzipped, payload, tar_bytes, write_tar, write_tar_gz
from edgegen.artifacts.wrap.receiver_tool import run_tool
from edgegen.artifacts.wrap.token_private import TokenP256
from edgegen.core.digests import canonical_json, sha256_bytes, sha256_file
from edgegen.core.records import setting

_P256_BYTES = 32
_TOOL = "mender-artifact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Options of ``--as mender``."""

    signing_key: str | None = setting(None, doc="private key, PEM or pkcs11:URI: RSA or P-256; else it is not signed")
    device_types: tuple[str, ...] = setting((), doc="device types that may take it, repeated; else the bundle's target")
    artifact_name: str | None = setting(None, doc="name of the release; else NAME-VERSION")
    module: Literal["edgegen-model", "directory"] = setting("edgegen-model", doc="update module on the device")
    folder: str | None = setting(None, doc="where the module directory unpacks it; else /var/lib/edgegen/incoming/NAME")


def wrap(bundle: Held, work: Path, settings: Settings, tools: Tools) -> Made:
    """Writes ``NAME-VERSION.mender``.

    Raises:
        UsageError: a name that has no equal, or a key that cannot be used.
        ToolMissingError: the key's token is not there, or fails.
        BuildError: mender-artifact, where it is installed, does not take it.
    """
    manifest = bundle.manifest
    name = dashed(manifest.name, "name", "another name in the project")
    version = plain(manifest.version, "version", "another version in the project").replace(" ", "-")
    release = plain(settings.artifact_name or f"{name}-{version}", "artifact's name", "--artifact-name")
    types = [plain(item, "device type", "--device-types") for item in settings.device_types or (manifest.target,)]
    folder = device_folder(settings.folder or f"/var/lib/edgegen/incoming/{name}", "--folder")
    update, data, path = work / "update.tar", work / "0000.tar.gz", work / f"{name}-{version}.mender"
    with update.open("wb") as sink:
        write_tar(sink, payload(bundle), tools.moment)
    dest_dir = f"{folder}\n".encode()
    inner = [
        Member(path="dest_dir", content=dest_dir),
        Member(path="update.tar", content=update, sha256=sha256_file(update)),
    ]
    write_tar_gz(data, inner, tools.moment)
    header = gzipped(_header(bundle, name, release, types, settings.module, tools.moment))
    stated = canonical_json({"format": "mender", "version": 3})
    sums = {
        "data/0000/dest_dir": sha256_bytes(dest_dir),
        "data/0000/update.tar": inner[1].sha256,
        "header.tar.gz": sha256_bytes(header),
        "version": sha256_bytes(stated),
    }
    listed = "".join(f"{digest}  {file}\n" for file, digest in sums.items()).encode()
    members = [Member(path="version", content=stated), Member(path="manifest", content=listed)]
    public, repeats = None, True
    if settings.signing_key is not None:
        with opened_private(settings.signing_key, tools) as private:
            members.append(Member(path="manifest.sig", content=_signature(listed, private)))
            public, repeats = private.public_key(), not isinstance(private, TokenP256)
    members.append(Member(path="header.tar.gz", content=header))
    # No folder before the data: the format knows these names alone.
    members.append(Member(path="data/0000.tar.gz", content=data, sha256=sha256_file(data)))
    with path.open("wb") as sink:
        write_tar(sink, members, tools.moment, folders=False)
    checked, not_checked = _check(path, work, public)
    return Made(
        path=path,
        checked=checked,
        not_checked=not_checked,
        not_reproducible="" if repeats else "an ECDSA signature by a token holds a random number",
        details={"artifact_name": release, "device_types": types, "module": settings.module, "folder": str(folder)},
    )


def _header(bundle: Held, name: str, release: str, types: list[str], module: str, moment: int) -> bytes:
    info = {
        "payloads": [{"type": module}],
        "artifact_provides": {"artifact_name": release},
        "artifact_depends": {"device_type": types},
    }
    # What a device then says of itself: which model it has.
    provides = {f"edgegen.{name}.digest": bundle.digest, f"edgegen.{name}.version": bundle.manifest.version}
    type_info = {
        "type": module,
        "artifact_provides": provides,
        "clears_artifact_provides": [f"edgegen.{name}.*"],
    }
    return tar_bytes(
        [
            Member(path="header-info", content=canonical_json(info)),
            Member(path="headers/0000/type-info", content=canonical_json(type_info)),
            Member(path="headers/0000/meta-data", content=b""),
        ],
        moment,
        folders=False,
    )


def _signature(data: bytes, private: Private) -> bytes:
    """Base64 of PKCS #1 v1.5 with SHA-256, or of ECDSA's r and s, 32 bytes each; a key in a file repeats itself."""
    if isinstance(private, rsa.RSAPrivateKey):
        return base64.b64encode(private.sign(data, padding.PKCS1v15(), hashes.SHA256()))
    der = private.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    return base64.b64encode(b"".join(number.to_bytes(_P256_BYTES, "big") for number in decode_dss_signature(der)))


def _check(
    path: Path, work: Path, public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | None
) -> tuple[tuple[str, ...], str]:
    if shutil.which(_TOOL) is None:
        return (), f"{_TOOL} is not installed (apt install {_TOOL})"
    command, what = [_TOOL, "validate"], "checksums hold"
    if public is not None:
        file = work / "signer.pub"
        form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        file.write_bytes(public.public_bytes(*form))
        command, what = [*command, "--key", str(file)], "checksums and signature hold"
    run_tool([*command, str(path)], _TOOL)
    return (f"{_TOOL} validate: {what}",), ""
