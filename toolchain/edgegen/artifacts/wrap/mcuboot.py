"""An image for MCUboot, by imgtool: a firmware that has the bundle's model in it, or a model file as data in a slot.

The signature is made by the key as it signs bundles (file, passphrase, token; P-256 by RFC 6979), and imgtool puts it
in: it is asked for what is to be signed (``--vector-to-sign``), then given the signature (``--fix-sig``). MCUboot signs
the payload with P-256 and its SHA-256 with Ed25519 (imgtool 2.5, ``Image.create``).
"""

from __future__ import annotations

import base64
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgegen.artifacts.token_uri import in_token
from edgegen.artifacts.wrap.c_sources import constants_of
from edgegen.artifacts.wrap.held import Held
from edgegen.artifacts.wrap.naming import dashed
from edgegen.artifacts.wrap.order import Made, Tools
from edgegen.core.errors import BuildError, IntegrityError, ToolMissingError, UsageError
from edgegen.core.given_file import read_file
from edgegen.core.lazy import load
from edgegen.core.models import FORMATS
from edgegen.core.records import setting
from edgegen.devices.mcu.images import plain_image
from edgegen_runtime.public_keys import ED25519

if TYPE_CHECKING:
    from edgegen.artifacts.keys import Signing

_TOOL = "imgtool"
_TIMEOUT_S = 120.0
_MOST_BYTES = 64 << 20
_TOKEN_SIGNER, _KEY_SIGNER = "edgegen.artifacts.token_keys:token_signer", "edgegen.artifacts.keys:load_signer"
_VERSION = re.compile(r"(0|[1-9]\d*)(?:\.(0|[1-9]\d*))?(?:\.(0|[1-9]\d*))?(?:\+(0|[1-9]\d*))?")
_MOST = (255, 255, 65535, 2**32 - 1)  # of each part of a version: struct image_version of MCUboot
_DEPENDS = re.compile(r"(\d{1,3}):(\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Options of ``--as mcuboot``."""

    signing_key: str = setting(doc="private key (PEM, or pkcs11:URI): P-256 or Ed25519, as the boot loader is built")
    slot_size: int = setting(doc="bytes of the slot; of two unequal ones the second's", minimum=1024)
    header_size: int = setting(512, doc="bytes in front of the image; its vectors must be aligned so", minimum=32)
    firmware: str | None = setting(
        None,
        doc="firmware that holds the bundle's model (.bin, or .elf); without it the model file itself is the image",
    )
    header_in_place: bool = setting(False, doc="the firmware begins with room for the header, as Zephyr links it")
    image_version: str | None = setting(None, doc="MAJOR.MINOR.REVISION+BUILD; else the bundle's version")
    security_counter: str | None = setting(
        None, doc="a number that never falls, or auto (from the version): older images are refused by it"
    )
    depends: tuple[str, ...] = setting((), doc="IMAGE:VERSION that must be there, e.g. 0:1.4.0: the firmware's own")
    align: Literal["1", "2", "4", "8", "16", "32"] = setting("4", doc="smallest write of the flash in bytes")
    digest_tag: int = setting(0xA0, doc="TLV that holds the digest of the bundle's core", minimum=0xA0, maximum=0xFFFE)
    pad: bool = setting(False, doc="fill the slot and mark the image for the next boot")
    confirm: bool = setting(False, doc="the same, and for good")


def wrap(bundle: Held, work: Path, settings: Settings, tools: Tools) -> Made:
    """Writes ``NAME-VERSION.bin``, verified by imgtool and refused by it after one turned bit.

    Raises:
        UsageError: a version, key or option that MCUboot has no equal for, or a firmware without the bundle's model.
        BuildError: imgtool refuses, e.g. because the slot is too small.
        ToolMissingError: imgtool is not installed.
    """
    if importlib.util.find_spec(_TOOL) is None:
        raise ToolMissingError(
            "imgtool is not installed", where="--as mcuboot", next_step="pip install 'edgegen[mcuboot]'"
        )
    manifest = bundle.manifest
    version = image_version(settings.image_version or manifest.version)
    image, told = _image(bundle, settings)
    (work / "image.bin").write_bytes(image)
    options = _options(bundle, settings, version)
    with _opened(settings.signing_key, tools) as signer:
        vector = "digest" if signer.public.kind == ED25519 else "payload"
        _imgtool(work, "sign", *options, "--vector-to-sign", vector, "image.bin", "to-sign.bin")
        signature = signer.sign((work / "to-sign.bin").read_bytes())
        public = signer.public
    pem = base64.encodebytes(public.der).decode()
    (work / "key.pem").write_text(f"-----BEGIN PUBLIC KEY-----\n{pem}-----END PUBLIC KEY-----\n", encoding="ascii")
    (work / "signature").write_bytes(base64.b64encode(signature))
    path = work / f"{dashed(manifest.name, 'name', '--out')}-{version}.bin"
    fixed = ("--fix-sig", "signature", "--fix-sig-pubkey", "key.pem")
    # Not before: imgtool would fill what is to be signed, too.
    padding = [*(["--pad"] if settings.pad else []), *(["--confirm"] if settings.confirm else [])]
    _imgtool(work, "sign", *options, *fixed, *padding, "image.bin", path.name)
    _imgtool(work, "verify", "-k", "key.pem", path.name)
    _refuses_a_turned_bit(work, path, settings.header_size)
    return Made(
        path=path,
        checked=(
            *told,
            f"imgtool verify holds under the key {public.key_id[:16]}",
            "imgtool verify refuses it after one turned bit",
        ),
        details={
            "image_version": version,
            "image_bytes": len(image),
            "key_id": public.key_id,
            "holds": "firmware" if settings.firmware else "model",
            "digest_tag": settings.digest_tag,
        },
    )


def image_version(text: str) -> str:
    """A version as MCUboot's header holds it: three numbers and a build number.

    Raises:
        UsageError: it has a pre-release, words, or numbers that are too large: MCUboot would put it elsewhere.
    """
    match = _VERSION.fullmatch(text)
    parts = [int(part or 0) for part in match.groups()] if match is not None else []
    if not parts or any(part > most for part, most in zip(parts, _MOST, strict=True)):
        raise UsageError(
            "the version has no equal in an MCUboot image",
            got=repr(text[:80]),
            expected="numbers alone, as 1.4.0 or 1.4.0+7: at most 255.255.65535+4294967295",
            next_step="say another with --image-version",
        )
    return "{}.{}.{}+{}".format(*parts)


def _image(bundle: Held, settings: Settings) -> tuple[bytes, tuple[str, ...]]:
    """What is signed, without its header, and what was checked of it."""
    manifest = bundle.manifest
    if settings.firmware is None:
        if manifest.format == "c":
            raise UsageError(
                "a model in C is part of a firmware",
                where="--as mcuboot",
                expected="the firmware that it was linked into",
                next_step="--firmware FILE.bin (or .elf): what your build makes of c-library.zip",
            )
        return bundle.read(FORMATS[manifest.format]), ()
    given = Path(settings.firmware)
    data = read_file(given, "the firmware", limit_bytes=_MOST_BYTES)
    if data.startswith(b"\x7fELF"):
        try:
            data = plain_image(data)[1]
        except BuildError as error:
            raise UsageError("not a firmware", where=str(given), got=error.what) from error
    return data, (_has_the_model(bundle, data, given),)


def _has_the_model(bundle: Held, firmware: bytes, given: Path) -> str:
    """What was found of the model in a firmware: its largest constant, or the whole model file."""
    if bundle.manifest.format == "c":
        found = constants_of(bundle.read(FORMATS["c"]).decode("utf-8", errors="replace"))
        name, wanted = max(found.items(), key=lambda item: len(item[1]), default=("", b""))
    else:
        name, wanted = FORMATS[bundle.manifest.format], bundle.read(FORMATS[bundle.manifest.format])
    if not wanted:
        return "the model has no constants by which a firmware could be told"
    if wanted not in firmware:
        raise UsageError(
            "the firmware does not hold the bundle's model",
            where=str(given),
            got=f"no {name} ({len(wanted):,} bytes) in it",
            expected="a firmware that was linked with this bundle's sources",
        )
    return f"the firmware holds the model: {name}, {len(wanted):,} bytes"


def _options(bundle: Held, settings: Settings, version: str) -> list[str]:
    header = settings.header_size
    if header & (header - 1):
        raise UsageError("not a size for a header", got=header, expected="a power of two")
    options = ["--header-size", str(header), "--slot-size", str(settings.slot_size), "--align", settings.align]
    options += ["--version", version, "--custom-tlv", hex(settings.digest_tag)]
    options += [f"0x{bundle.digest.removeprefix('sha256:')}"]
    if not (settings.firmware and settings.header_in_place):
        options.append("--pad-header")
    if settings.firmware is None:
        options.append("--non-bootable")
    if settings.security_counter is not None:
        counter = settings.security_counter
        if counter != "auto" and not (counter.isdecimal() and int(counter) < 2**32):
            raise UsageError("not a security counter", got=counter[:40], expected="auto, or a number below 2^32")
        options += ["--security-counter", counter]
    if settings.depends:
        options += ["--dependencies", ", ".join(_dependency(text) for text in settings.depends)]
    return options


def _dependency(text: str) -> str:
    match = _DEPENDS.fullmatch(text)
    if match is None:
        raise UsageError("not a dependency", got=text[:80], expected="IMAGE:VERSION, e.g. 0:1.4.0")
    return f"({int(match[1])},{image_version(match[2])})"


@contextmanager
def _opened(key: str, tools: Tools) -> Iterator[Signing]:
    """What signs: a file's key, or a token's for as long as the block lasts."""
    if in_token(key):
        with load(_TOKEN_SIGNER, extra="hsm")(key, lambda: tools.passphrase(key)) as signer:
            yield signer
    else:
        yield load(_KEY_SIGNER, extra="trust")(Path(key), lambda: tools.passphrase(key))


def _refuses_a_turned_bit(work: Path, path: Path, place: int) -> None:
    turned = bytearray(path.read_bytes())
    turned[place] ^= 1
    (work / "turned.bin").write_bytes(turned)
    if _run(work, ["verify", "-k", "key.pem", "turned.bin"]).returncode == 0:
        raise IntegrityError("imgtool takes an image with a turned bit for whole", where=path.name)


def _imgtool(work: Path, *arguments: str) -> None:
    done = _run(work, arguments)
    if done.returncode != 0:
        words = [line for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]
        raise BuildError(f"imgtool {arguments[0]} refuses", where="--as mcuboot", got=words[-1] if words else "nothing")


def _run(work: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [sys.executable, "-m", "imgtool.main", *arguments],
            cwd=work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolMissingError("imgtool does not run", where=sys.executable, got=error) from error
