"""A RAUC bundle (format verity) whose one image is a slot of its own for the model.

Format: https://rauc.readthedocs.io/en/v1.8/reference.html. Made by ``rauc bundle`` itself.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives import serialization

from edgegen.artifacts.token_uri import in_token, read_uri
from edgegen.artifacts.wrap.certificates import Certified, opened_certified, pem, read_pem
from edgegen.artifacts.wrap.held import Held
from edgegen.artifacts.wrap.naming import dashed, plain
from edgegen.artifacts.wrap.order import Made, Tools
from edgegen.artifacts.wrap.packing import payload, write_tar
from edgegen.artifacts.wrap.receiver_tool import run_tool
from edgegen.core.digests import sha256_file
from edgegen.core.errors import BuildError, ToolMissingError
from edgegen.core.records import setting

_RAUC, _SQUASHFS, _ENGINE = "rauc", "squashfs-tools", "libengine-pkcs11-openssl"
_NO_ENGINE = "ENGINE_by_id"  # OpenSSL's function that fails then, in the last lines of what rauc says


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Options of ``--as rauc``."""

    signing_key: str = setting(doc="private key, PEM or pkcs11:URI: RSA or P-256")
    certificate: str = setting(doc="certificate of the signing key, PEM; those behind it are its chain")
    ca: str | None = setting(None, doc="certificates that devices trust, to check with; else the signing one itself")
    compatible: str | None = setting(None, doc="compatible string of the devices; else the bundle's target")
    slot: str = setting("model", doc="class of the slot that the model goes into")
    image: Literal["tar", "squashfs"] = setting("tar", doc="tar: unpacked into a file system; squashfs: written raw")


def wrap(bundle: Held, work: Path, settings: Settings, tools: Tools) -> Made:
    """Writes ``NAME-VERSION.raucb``, then has rauc check the signature and take the payload apart again.

    Raises:
        UsageError: a name that has no equal, or a key or certificate that cannot be used.
        ToolMissingError: rauc, mksquashfs or the engine for tokens is not installed, or the token fails.
        BuildError: rauc does not take it.
    """
    manifest = bundle.manifest
    name = dashed(manifest.name, "name", "another name in the project")
    version = plain(manifest.version, "version", "another version in the project").replace(" ", "-")
    compatible = plain(settings.compatible or manifest.target, "compatible string", "--compatible")
    slot = dashed(settings.slot, "slot", "--slot")
    asking = replace(tools, passphrase=cache(tools.passphrase))  # a PIN is wanted twice: here, and by rauc
    # Of a token this finds a wrong PIN, key or certificate before rauc does: it is tried once, and told in plain words.
    with opened_certified(settings.signing_key, settings.certificate, asking) as opened:
        signer = opened
    inside = work / "inside"
    inside.mkdir()
    image = inside / f"{slot}.{settings.image}"
    _write_image(image, bundle, work, tools.moment)
    sha256 = sha256_file(image)
    words = [
        *("[update]", f"compatible={compatible}", f"version={version}", f"build={bundle.digest}", ""),
        *("[bundle]", "format=verity", "", f"[image.{slot}]", f"filename={image.name}", ""),
    ]
    (inside / "manifest.raucm").write_text("\n".join(words), encoding="ascii")
    path, certificate, trusted = work / f"{name}-{version}.raucb", work / "signer.pem", work / "trusted.pem"
    certificate.write_bytes(pem((signer.certificate,)))
    trusted.write_bytes(read_pem(Path(settings.ca)) if settings.ca else pem((signer.certificate, *signer.chain)))
    chain = work / "chain.pem"
    chain.write_bytes(pem(signer.chain))
    command = ["rauc", "bundle", f"--cert={certificate}", *([f"--intermediate={chain}"] if signer.chain else [])]
    if in_token(settings.signing_key):
        _bundle_by_token([*command, str(inside), str(path)], settings.signing_key, asking)
    else:
        with _key_file(signer) as (key, handle):
            run_tool([*command, f"--key={key}", str(inside), str(path)], _RAUC, keep_open=[handle])
    _check(path, trusted, work / "apart", image.name, sha256)
    return Made(
        path=path,
        checked=(
            "rauc info: signature and manifest hold",
            f"rauc extract: the payload holds, {image.name} is sha256:{sha256}",
        ),
        not_reproducible="rauc draws a salt and signs the time",
        details={"compatible": compatible, "version": version, "slot": slot, "image": image.name},
    )


def _write_image(image: Path, bundle: Held, work: Path, moment: int) -> None:
    archive = image if image.suffix == ".tar" else work / "model.tar"
    with archive.open("wb") as sink:
        write_tar(sink, payload(bundle), moment)
    if archive == image:
        return
    tree = work / "tree"
    with tarfile.open(archive) as packed:  # our own, of a moment ago; Debian 12's Python 3.11.2 has no filters
        packed.extractall(tree)
    stamp = str(moment)
    fixed = ["-all-root", "-no-xattrs", "-noappend", "-mkfs-time", stamp, "-all-time", stamp, "-processors", "1"]
    run_tool(["mksquashfs", str(tree), str(image), *fixed, "-no-progress", "-quiet"], _SQUASHFS)


def _bundle_by_token(command: list[str], key: str, tools: Tools) -> None:
    """Has rauc sign by a token: it takes the library and the PIN from its environment (rauc 1.8, signature.c)."""
    uri = read_uri(key)
    pin = uri.pin() or tools.passphrase(key)
    whole = [*command[:2], f"--key={uri.bare()}", *command[2:]]
    try:
        run_tool(whole, _RAUC, RAUC_PKCS11_MODULE=uri.module, RAUC_PKCS11_PIN=pin.decode())
    except BuildError as error:
        if _NO_ENGINE not in str(error):
            raise
        raise ToolMissingError(
            "rauc signs by a token through OpenSSL's engine pkcs11, which is not installed",
            where=key,
            next_step=f"apt install {_ENGINE}",
        ) from error


@contextmanager
def _key_file(signer: Certified) -> Iterator[tuple[str, int]]:
    """The key in the clear for as long as rauc reads it: in memory alone, never on a disk."""
    handle = os.memfd_create("signing-key")
    try:
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        os.write(handle, signer.private.private_bytes(serialization.Encoding.PEM, *form))
        yield f"/proc/self/fd/{handle}", handle
    finally:
        os.close(handle)


def _check(path: Path, trusted: Path, apart: Path, image: str, sha256: str) -> None:
    run_tool(["rauc", "info", f"--keyring={trusted}", str(path)], _RAUC)
    # Of a verity bundle `info` never reads the payload.
    run_tool(["rauc", "extract", f"--keyring={trusted}", str(path), str(apart)], _RAUC)
    found = sha256_file(apart / image)
    if found != sha256:
        raise BuildError("rauc gives back another image", where=image, got=f"sha256:{found}", expected=sha256)
