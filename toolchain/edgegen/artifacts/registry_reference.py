"""How a place and an artifact in it are written: registry, folder (``oci:DIR``) or web server (``https://…``)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from edgegen.artifacts.layout import BUNDLE_DIR
from edgegen.artifacts.sealed import hex_of
from edgegen.core.errors import UsageError

LATEST = "latest"

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_MAX_NAME = 255
_FOLDER = "oci:"
_WEB = ("http://", "https://")
_SHAPES = "HOST/NAME:TAG, HOST/NAME@sha256:<hex>, oci:DIR[:TAG], a folder, or https://HOST/PATH[:TAG]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An artifact in a place."""

    kind: str  # "registry", "folder" or "web"
    place: str  # registry: host and port; folder: path; web: address without a slash at its end
    name: str = ""  # registry: the repository
    tag: str | None = None
    digest: str | None = None  # sha256:<hex>; with a tag too, the digest is what counts

    @property
    def wanted(self) -> str:
        """What to ask the place for: the digest, else the tag, else ``latest``."""
        return self.digest or self.tag or LATEST

    @property
    def short_name(self) -> str:
        """A folder's name to pull into."""
        parts = [part for part in (self.name or self.place).split("/") if part not in ("", ".", "..", "~", BUNDLE_DIR)]
        return parts[-1] if parts else "pulled"

    def text(self) -> str:
        """As it would be written again."""
        prefix = _FOLDER if self.kind == "folder" else ""
        whole = f"{prefix}{self.place}" + (f"/{self.name}" if self.name else "")
        return whole + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str) -> Reference:
    """The artifact that ``text`` names. A folder that is there counts as one, with or without ``oci:``.

    Raises:
        UsageError: it names nothing.
    """
    path = text.removeprefix(_FOLDER)
    if not path or any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise _unusable(text)
    if path != text:
        return _folder(path)
    if text.startswith((".", "/", "~")) or Path(text).is_dir():
        return _folder(text)
    if " " in text:
        raise _unusable(text)
    return _web(text) if text.startswith(_WEB) else _registry(text)


def is_loopback(host: str) -> bool:
    """Whether a host (with or without a port) is this machine by its very name."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def tag_of_version(version: str) -> str:
    """The tag of a version: ``+``, which tags do not have, becomes ``_``."""
    tag = version.replace("+", "_")
    if not _TAG.fullmatch(tag):
        raise UsageError(
            "a version cannot be a tag", got=version, next_step="name a tag: edgegen push BUNDLE HOST/NAME:TAG"
        )
    return tag


def _registry(text: str) -> Reference:
    host, slash, rest = text.partition("/")
    if not slash or not _HOST.fullmatch(host) or not ("." in host or ":" in host or host == "localhost"):
        raise _unusable(text)
    if int(urlsplit(f"//{host}").netloc.rsplit("]")[-1].partition(":")[2] or 0) > 65535:
        raise _unusable(text)
    name, tag, digest = _split(rest, text)
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise _unusable(text)
    return Reference(kind="registry", place=host, name=name, tag=tag, digest=digest)


def _folder(text: str) -> Reference:
    path, tag, digest = (text, None, None) if Path(text).expanduser().is_dir() else _split(text, text)
    folder = Path(path).expanduser()
    # What a build writes holds the layout beside other things.
    inside = folder / BUNDLE_DIR
    return Reference(kind="folder", place=str(inside if inside.is_dir() else folder), tag=tag, digest=digest)


def _web(text: str) -> Reference:
    scheme, _, rest = text.partition("://")
    host, slash, path = rest.rstrip("/").partition("/")
    if not _HOST.fullmatch(host) or "?" in path or "#" in path:
        raise _unusable(text)
    name, tag, digest = _split(path, text) if path else ("", None, None)
    place = f"{scheme}://{host}{slash}{name}".rstrip("/")
    return Reference(kind="web", place=place, tag=tag, digest=digest)


def _split(text: str, whole: str) -> tuple[str, str | None, str | None]:
    """Path, tag and digest of ``PATH[:TAG][@DIGEST]``."""
    rest, at, digest = text.partition("@")
    if at and hex_of(digest) is None:
        raise _unusable(whole)
    folders, slash, last = rest.rpartition("/")
    name, colon, tag = last.partition(":")
    if (colon and not _TAG.fullmatch(tag)) or not name:
        raise _unusable(whole)
    return f"{folders}{slash}{name}", tag or None, digest or None


def _unusable(text: str) -> UsageError:
    return UsageError("this names no artifact", got=repr(text)[:300], expected=_SHAPES)
