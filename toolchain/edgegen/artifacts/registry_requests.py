"""Requests to one repository of a registry: authorization, repetition, and addresses that stay on the registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urljoin, urlsplit

from edgegen.artifacts.registry_auth import Authorization
from edgegen.artifacts.registry_connection import FilePart
from edgegen.artifacts.registry_http import Answer, Http, Reply, plain_fallback
from edgegen.artifacts.registry_patience import FAILURES, Attempts
from edgegen.core.errors import EdgegenError, IntegrityError, ToolMissingError
from edgegen.core.store import MAX_MANIFEST_BYTES

_MAX_SAID = 2000


class Requests:
    """Paths are those of the repository; a whole address must be one that ``pinned`` gave.

    Args:
        host: with a port, where it is not the scheme's own.
        name: the repository.
        mount_from: another repository of the registry, whose blobs may be mounted.
    """

    def __init__(self, http: Http, host: str, name: str, *, plain_http: bool, mount_from: str | None) -> None:
        self.place = f"{host}/{name}"
        self.patience = http.patience
        self._http = http
        self._host = host
        self._name = name
        self._mount_from = mount_from
        self._writes = False
        self._origin = f"{'http' if plain_http else 'https'}://{host}"
        self._auth = Authorization(http, self._origin)
        self._greet()

    @contextmanager
    def once(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | FilePart = b""
    ) -> Iterator[Answer]:
        """One attempt, with authorization; where that has run out, a second with a new one.

        Raises:
            registry_patience.FAILURES: of the connection.
            ToolMissingError: the registry does not let us in.
        """
        url = path if path.startswith(("http://", "https://")) else f"{self._origin}/v2/{self._name}/{path}"
        self._writes = self._writes or method in ("POST", "PUT", "PATCH")
        for again in (False, True):
            sent = {**(headers or {}), **self._auth.header(self._scope(), again=again)}
            with self._http.ask(method, url, sent, body) as answer:
                if answer.status != 401:
                    yield answer
                    return
                self._auth.learn(answer.header("WWW-Authenticate"))
        raise self._auth.refused(f"{method} {urlsplit(url).path} was answered with 401")

    def asked(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | FilePart = b""
    ) -> Reply:
        """The whole answer, at most 4 MiB, of a request that may be sent again until it succeeds.

        Raises:
            ToolMissingError: too many failures.
        """
        attempts = self.attempts()
        while True:
            try:
                with self.once(method, path, headers, body) as answer:
                    return answer.read(MAX_MANIFEST_BYTES)
            except FAILURES as error:
                attempts.failed(error)

    def attempts(self) -> Attempts:
        """A new count of failures."""
        return Attempts(self.patience, self.place)

    def pinned(self, location: str | None) -> str:
        """An address that the registry named, on this very registry.

        A registry behind a proxy often names itself by a wrong scheme or port; another host is refused, as the next
        requests carry our authorization and our bytes.

        Raises:
            IntegrityError: there is no address, or it is of another host.
        """
        own = urlsplit(self._origin)
        try:
            target = urlsplit(urljoin(f"{self._origin}/", location or ""))
            usable = bool(location) and target.hostname == own.hostname and target.path.startswith("/v2/")
        except ValueError:
            usable = False
        if not usable:
            raise IntegrityError(
                "the registry names an address that is none of its own",
                where=self.place,
                got=location,
                expected=f"a path of {self._origin}/v2/",
            )
        return f"{self._origin}{target.path}{'?' + target.query if target.query else ''}"

    def unexpected(self, status: int, body: bytes, what: str) -> EdgegenError:
        """The error for an answer that the protocol does not have there."""
        said = body[:_MAX_SAID].decode(errors="replace")
        if status in (401, 403):
            return self._auth.refused(f"HTTP {status} {said}")
        return ToolMissingError(f"the registry refuses {what}", where=self.place, got=f"HTTP {status} {said}")

    def close(self) -> None:
        """Ends the connections."""
        self._http.close()

    def _greet(self) -> None:
        """Learns what the registry asks for, before a body is sent in vain."""
        attempts = self.attempts()
        while True:
            try:
                with self._http.ask("GET", f"{self._origin}/v2/") as answer:
                    reply = answer.read(MAX_MANIFEST_BYTES)
                break
            except FAILURES as error:
                if self._origin.startswith("https:") and plain_fallback(self._host, error):
                    self._origin = f"http://{self._host}"
                    self._auth = Authorization(self._http, self._origin)
                else:
                    attempts.failed(error)
        if reply.status == 401:
            self._auth.learn(reply.header("WWW-Authenticate"))
        elif reply.status != 200:
            raise self.unexpected(reply.status, reply.body, "to talk: it may be no registry")
        elif reply.body.lstrip().startswith(b"<"):
            raise ToolMissingError(
                "a web page answers in the registry's place",
                where=self.place,
                got=reply.body.lstrip()[:60].decode(errors="replace"),
                expected="the registry's API under /v2/",
                next_step="look at the address with a browser: it may be a log-in page of the network, or no registry",
            )

    def _scope(self) -> str:
        scope = f"repository:{self._name}:{'pull,push' if self._writes else 'pull'}"
        return f"{scope} repository:{self._mount_from}:pull" if self._writes and self._mount_from else scope
