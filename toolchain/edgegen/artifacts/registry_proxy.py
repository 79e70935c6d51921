"""The way out where a network has one: ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY``, as other tools read them.

A proxy's name and password are in its address: they are sent to it, and shown nowhere.
"""

from __future__ import annotations

import base64
import socket
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from edgegen.artifacts.registry_reference import is_loopback
from edgegen.core.errors import ToolMissingError, UsageError

DENIED = 407
_PORT = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy that is spoken to without TLS; TLS to the server behind goes through it unread."""

    host: str
    port: int
    headers: dict[str, str] = field(default_factory=dict, repr=False)  # Proxy-Authorization, where it has a password

    @property
    def shown(self) -> str:
        """As messages name it, without a password."""
        return f"proxy {self.host}:{self.port}"

    def connect(self, timeout_s: float) -> socket.socket:
        """A connection to it. Raises ConnectionError: it is not there; another try may find it."""
        try:
            sock = socket.create_connection((self.host, self.port), timeout_s)
        except OSError as error:
            raise ConnectionError(f"{self.shown}: {error}") from error
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def refused(self, status: int, place: str) -> ToolMissingError:
        """What to say of an answer that is the proxy's own."""
        denied = status == DENIED
        return ToolMissingError(
            "the proxy does not let us in" if denied else "the proxy does not lead there",
            where=f"{self.shown}, to {place}",
            got=f"HTTP {status}",
            next_step="give its name and password: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
            if denied
            else "ask whoever runs it, or name the place in NO_PROXY if it can be reached directly",
        )


def proxy_for(scheme: str, netloc: str) -> Proxy | None:
    """The proxy that the environment names for a server; None: it is asked directly. This machine itself always is.

    Raises:
        UsageError: the variable holds no address of a proxy that edgegen can use.
    """
    from urllib.request import getproxies_environment, proxy_bypass

    address = getproxies_environment().get(scheme)
    if not address or is_loopback(netloc) or proxy_bypass(netloc):
        return None
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        host, port = parts.hostname, parts.port or _PORT
        usable = parts.scheme == "http" and bool(host) and parts.path in ("", "/")
    except ValueError:
        usable = False
    if not usable or host is None:
        raise UsageError(
            "the environment names a proxy that cannot be used",
            where=f"{scheme.upper()}_PROXY",  # its value may hold a password
            expected="http://HOST:PORT or http://USER:PASSWORD@HOST:PORT",
        )
    headers = {}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return Proxy(host=host, port=port, headers=headers)
