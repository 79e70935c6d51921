"""Opens the place that a reference names: to pull from, and to push to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edgegen.artifacts.layout_source import FolderFiles, LayoutSource, WebFiles
from edgegen.artifacts.registry import Registry
from edgegen.artifacts.registry_http import Http, Trust
from edgegen.artifacts.registry_patience import Patience
from edgegen.artifacts.registry_reference import Reference, is_loopback
from edgegen.artifacts.registry_requests import Requests
from edgegen.artifacts.registry_upload import Sessions
from edgegen.artifacts.transfer import Destination, Source
from edgegen.artifacts.transfer_folder import FolderDestination
from edgegen.core.cache import Cache
from edgegen.core.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach a place."""

    trust: Trust = field(default_factory=Trust)
    patience: Patience = field(default_factory=Patience)
    mount_from: str | None = None  # another repository of the registry, whose files need not be sent again


@contextmanager
def source_of(reference: Reference, access: Access) -> Iterator[Source]:
    """A place to pull from.

    Raises:
        UsageError: there is no such folder, or it is no layout; a web server without TLS.
        ToolMissingError: the place does not answer.
    """
    if reference.kind == "folder":
        yield LayoutSource(FolderFiles(Path(reference.place)))
        return
    http = Http(access.patience, access.trust)
    try:
        if reference.kind == "web":
            _check_web(reference, access)
            yield LayoutSource(WebFiles(http, reference.place))
        else:
            yield _registry(reference, access, http)
    finally:
        http.close()


@contextmanager
def destination_of(reference: Reference, access: Access) -> Iterator[Destination]:
    """A place to push to.

    Raises:
        UsageError: a web server, which can only be read; a folder that holds something else.
        ToolMissingError: the registry does not answer.
    """
    if reference.kind == "web":
        raise UsageError(
            "a web server can only be read",
            where=reference.place,
            next_step="push to oci:DIR and serve that folder, or push to a registry",
        )
    if reference.digest is not None:
        raise UsageError("a push gives a tag, not a digest", got=reference.digest, expected="HOST/NAME:TAG")
    if reference.kind == "folder":
        yield FolderDestination(Path(reference.place))
        return
    http = Http(access.patience, access.trust)
    try:
        yield _registry(reference, access, http)
    finally:
        http.close()


def _registry(reference: Reference, access: Access, http: Http) -> Registry:
    requests = Requests(
        http,
        reference.place,
        reference.name,
        plain_http=access.trust.plain_http,
        mount_from=access.mount_from,
    )
    return Registry(requests, Sessions(Cache().root / "uploads"), access.mount_from)


def _check_web(reference: Reference, access: Access) -> None:
    host = reference.place.split("/")[2]
    if reference.place.startswith("http:") and not (access.trust.plain_http or is_loopback(host)):
        raise UsageError(
            "the web server is asked without TLS",
            where=reference.place,
            next_step="use https, or add --plain-http if the network in between is yours",
        )
