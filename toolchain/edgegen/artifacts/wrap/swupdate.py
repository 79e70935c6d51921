"""A signed ``.swu`` for SWUpdate: sw-description, its CMS signature, and one tar that goes into a folder.

Format: https://sbabic.github.io/swupdate/sw-description.html and signed_images.html.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgegen.artifacts.wrap.certificates import Certified, cms_signature, opened_certified, pem, read_pem
from edgegen.artifacts.wrap.cpio import write_cpio
from edgegen.artifacts.wrap.held import Held
from edgegen.artifacts.wrap.naming import dashed, device_folder, plain
from edgegen.artifacts.wrap.order import Made, Tools
from edgegen.artifacts.wrap.packing import payload, write_tar
from edgegen.artifacts.wrap.receiver_tool import run_tool
from edgegen.core.digests import sha256_file
from edgegen.core.records import setting

_PACKAGE = "swupdate"
_SUCCESS = "SWUPDATE successful"
"""2022.12 ends with status 1 now and then after it said so (1 to 5 of 30 tries)."""
_IMAGE = "model.tar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Options of ``--as swupdate``."""

    signing_key: str = setting(doc="private key, PEM or pkcs11:URI: RSA or P-256")
    certificate: str = setting(doc="certificate of the signing key, PEM; those behind it are its chain")
    ca: str | None = setting(None, doc="certificates that devices trust, to check with; else the signing one itself")
    board: str | None = setting(None, doc="board's name in /etc/hwrevision; else the bundle's target")
    revisions: tuple[str, ...] = setting(("1.0",), doc="revisions of the board that may take it; may be repeated")
    folder: str | None = setting(None, doc="where it is unpacked on the device; else /var/lib/edgegen/incoming/NAME")


def wrap(bundle: Held, work: Path, settings: Settings, tools: Tools) -> Made:
    """Writes ``NAME-VERSION.swu``.

    Raises:
        UsageError: a name that has no equal, or a key or certificate that cannot be used.
        ToolMissingError: the key's token is not there, or fails.
        BuildError: swupdate, where it is installed, does not take it.
    """
    manifest = bundle.manifest
    name = dashed(manifest.name, "name", "another name in the project")
    version = plain(manifest.version, "version", "another version in the project").replace(" ", "-")
    board = dashed(settings.board or manifest.target, "board", "--board")
    revisions = [plain(item, "revision", "--revisions") for item in settings.revisions]
    folder = device_folder(settings.folder or f"/var/lib/edgegen/incoming/{name}", "--folder")
    image, path = work / _IMAGE, work / f"{name}-{version}.swu"
    with image.open("wb") as sink:
        write_tar(sink, payload(bundle), tools.moment)
    description = _description(bundle, version, board, revisions, folder, sha256_file(image)).encode()
    with opened_certified(settings.signing_key, settings.certificate, tools) as signer:
        signature = cms_signature(description, signer)
    with path.open("wb") as sink:
        members: list[tuple[str, bytes | Path]] = [
            ("sw-description", description),
            ("sw-description.sig", signature),
            (_IMAGE, image),
        ]
        write_cpio(sink, members, tools.moment)
    checked, not_checked = _check(path, work, signer, settings, f"{board}:{revisions[0]}")
    return Made(
        path=path,
        checked=checked,
        not_checked=not_checked,
        not_reproducible="" if signer.repeats else "an ECDSA signature holds a random number",
        details={"version": version, "board": board, "revisions": revisions, "folder": str(folder)},
    )


def _description(
    bundle: Held, version: str, board: str, revisions: list[str], folder: PurePosixPath, sha256: str
) -> str:
    """libconfig; every word in it is letters, digits and a few signs, so nothing needs quoting."""
    compatible = ", ".join(f'"{revision}"' for revision in revisions)
    return f"""software =
{{
    version = "{version}";
    description = "model for edge devices, bundle {bundle.digest}";
    {board} = {{
        hardware-compatibility: [ {compatible} ];
        files: (
            {{
                filename = "{_IMAGE}";
                path = "{folder}";
                type = "archive";
                sha256 = "{sha256}";
                properties: {{ create-destination = "true"; }};
            }}
        );
    }};
}}
"""


def _check(path: Path, work: Path, signer: Certified, settings: Settings, hardware: str) -> tuple[tuple[str, ...], str]:
    if shutil.which("swupdate") is None:
        return (), "swupdate is not installed (apt install swupdate)"
    trusted = work / "trusted.pem"
    trusted.write_bytes(read_pem(Path(settings.ca)) if settings.ca else pem((signer.certificate, *signer.chain)))
    command = ["swupdate", "--check", "-k", str(trusted), "-H", hardware, "-i", str(path)]
    # It makes its sockets there, at names that are always the same; a long path would not do for a socket.
    with tempfile.TemporaryDirectory(prefix="eg-") as own:
        run_tool(command, _PACKAGE, says=_SUCCESS, TMPDIR=own)
    return ("swupdate --check: signature and hardware hold",), ""
