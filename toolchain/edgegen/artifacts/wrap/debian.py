"""A Debian package (deb(5), format 2.0): the model under ``/usr/share/edgegen/models``, and a program that tests it."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.artifacts.wrap.device_program import runtime_files
from edgegen.artifacts.wrap.held import Held
from edgegen.artifacts.wrap.naming import dashed, debian_name, debian_version
from edgegen.artifacts.wrap.order import Made, Tools
from edgegen.artifacts.wrap.packing import Member, gzipped, payload, tar_bytes, write_ar, write_tar_gz
from edgegen.artifacts.wrap.receiver_tool import run_tool
from edgegen.core.errors import UsageError
from edgegen.core.records import setting
from edgegen.core.targets import load_target

MODELS = "usr/share/edgegen/models"
_ARCHITECTURES = {"aarch64": "arm64", "armv7l": "armhf", "x86_64": "amd64", "riscv64": "riscv64"}
_KNOWN = ("all", "amd64", "arm64", "armel", "armhf", "i386", "riscv64")
_PREFIX = "edgegen-model-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Options of ``--as deb``."""

    package: str | None = setting(None, doc="name of the package; else edgegen-model- and the bundle's name")
    package_version: str | None = setting(None, doc="version of the package; else the bundle's, as dpkg orders it")
    architecture: str | None = setting(None, doc="architecture of the package; else that of the bundle's target")
    maintainer: str = setting("edgegen <edgegen@localhost>", doc="who answers for the package: Name <address>")
    section: str = setting("misc", doc="section of the archive")


def wrap(bundle: Held, work: Path, settings: Settings, tools: Tools) -> Made:
    """Writes ``NAME_VERSION_ARCHITECTURE.deb`` with this module's own tar and ar.

    Raises:
        UsageError: a name or version that Debian cannot have, or a target of no known architecture.
        BuildError: dpkg-deb, where it is installed, does not take the package.
    """
    manifest = bundle.manifest
    package = debian_name(settings.package or f"{_PREFIX}{dashed(manifest.name, 'name', '--package')}", "--package")
    version = debian_version(settings.package_version or manifest.version, "--package-version")
    architecture = settings.architecture or _architecture(manifest.target)
    if architecture not in _KNOWN:
        raise UsageError("no architecture of Debian", got=architecture, expected=" or ".join(_KNOWN))
    folder = f"{MODELS}/{package.removeprefix(_PREFIX)}"
    library = f"usr/lib/{package}"
    program = f"usr/bin/{package}-selftest"
    members = [
        Member(path=program, content=_program(library, folder), executable=True),
        *(
            Member(path=f"{library}/edgegen_runtime/{name}", content=data, sha256=hashlib.sha256(data).hexdigest())
            for name, data in runtime_files().items()
        ),
        Member(path=f"usr/share/doc/{package}/copyright", content=_copyright(bundle)),
        *payload(bundle, f"{folder}/"),
    ]
    control = _control(bundle, settings, package, version, architecture, members)
    inner = [Member(path="control", content=control.encode()), Member(path="md5sums", content=_md5sums(members))]
    data, path = work / "data.tar.gz", work / f"{package}_{version}_{architecture}.deb"
    write_tar_gz(data, members, tools.moment, "./")
    parts: list[tuple[str, bytes | Path]] = [
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", gzipped(tar_bytes(inner, tools.moment, "./"))),
        ("data.tar.gz", data),
    ]
    write_ar(path, parts, tools.moment)
    checked, not_checked = _check(path)
    return Made(
        path=path,
        checked=checked,
        not_checked=not_checked,
        details={
            "package": package,
            "package_version": version,
            "architecture": architecture,
            "folder": f"/{folder}",
            "self_test": f"/{program}",
        },
    )


def _architecture(target: str) -> str:
    try:
        isa = load_target(target, None).isa
    except UsageError as error:
        raise UsageError(
            "the architecture of the bundle's target is not known",
            got=target,
            expected="a target of edgegen's own",
            next_step=f"say it with --architecture: {', '.join(_KNOWN)}",
        ) from error
    return _ARCHITECTURES.get(isa, "all")


def _control(
    bundle: Held, settings: Settings, package: str, version: str, architecture: str, members: list[Member]
) -> str:
    for name in ("maintainer", "section"):
        text = getattr(settings, name)
        if not text.isprintable() or not text or text != text.strip():
            raise UsageError(f"not a {name}", got=repr(text[:80]), expected="one line of text")
    manifest = bundle.manifest
    sizes = {member.path: _size(member) for member in members}
    kibibytes = sum(-(-size // 1024) for size in sizes.values()) + 4 * len({Path(path).parent for path in sizes})
    fields = {
        "Package": package,
        "Version": version,
        "Architecture": architecture,
        "Maintainer": settings.maintainer,
        "Installed-Size": str(kibibytes),
        "Recommends": "python3 (>= 3.11), python3-numpy",
        "Section": settings.section,
        "Priority": "optional",
        "Description": f"model {_line(manifest.name)} for {_line(manifest.target)}\n"
        f" Recipe {_line(manifest.candidate)}, for {_line(manifest.runtime)} {_line(manifest.runtime_version)}.\n"
        f" {Path(members[0].path).name} runs its golden vectors on this device.",
        "Edgegen-Digest": bundle.digest,
        "Edgegen-Version": _line(manifest.version),
        "Edgegen-Target": _line(manifest.target),
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items())


def _line(text: str) -> str:
    """A stranger's words as a part of one field: nothing in them begins another."""
    return "".join(letter if letter.isprintable() and letter.isascii() else "?" for letter in text)[:200]


def _size(member: Member) -> int:
    if member.link_to:
        return 0
    return member.content.stat().st_size if isinstance(member.content, Path) else len(member.content)


def _md5sums(members: list[Member]) -> bytes:
    """What ``dpkg --verify`` compares with: it knows no other digest. The bundle's own are sha256."""
    found: dict[str, str] = {}
    for member in members:
        if member.link_to:
            found[member.path] = found[member.link_to]
        elif isinstance(member.content, Path):
            with member.content.open("rb") as stream:
                found[member.path] = hashlib.file_digest(stream, _md5).hexdigest()
        else:
            found[member.path] = _md5(member.content).hexdigest()
    return "".join(f"{digest}  {path}\n" for path, digest in found.items()).encode()


def _md5(data: bytes = b"") -> Any:
    return hashlib.md5(data, usedforsecurity=False)


def _program(library: str, folder: str) -> bytes:
    # -P: the folder that a person stands in is not looked into for modules.
    return f"""#!/bin/sh
# Checks every byte of the model and runs its golden vectors here; --key release.pub asks who signed, too.
# EDGEGEN_PYTHON names a Python (3.11 or newer) that has numpy and the inference runtime; else it is python3.
PYTHONPATH=/{library} exec "${{EDGEGEN_PYTHON:-python3}}" -P -B -m edgegen_runtime self-test /{folder}/bundle "$@"
""".encode()


def _copyright(bundle: Held) -> bytes:
    return (
        f"The model is described, with the licences of its data, by sbom.cdx.json of the bundle {bundle.digest}.\n"
        "edgegen_runtime, which this package carries, is under the Apache License 2.0\n"
        "(/usr/share/common-licenses/Apache-2.0).\n"
    ).encode()


def _check(path: Path) -> tuple[tuple[str, ...], str]:
    if shutil.which("dpkg-deb") is None:
        return (), "dpkg-deb is not installed (apt install dpkg)"
    for option in ("--info", "--contents"):
        run_tool(["dpkg-deb", option, str(path)], "dpkg")
    return ("dpkg-deb --info and --contents read the package",), ""
