"""Proves to a registry who we are: Basic, or a token that another server gives for it (Docker's token protocol).

https://distribution.github.io/distribution/spec/auth/token/ says how the token is asked for. A password goes to the
registry itself and to the token server that it names, to the latter by https or on the same host alone.
"""

from __future__ import annotations

import re
import threading
import time
from urllib.parse import urlencode, urlsplit

from edgegen.artifacts.parse import strict_json
from edgegen.artifacts.registry_credentials import Credentials, find_credentials
from edgegen.artifacts.registry_http import Http
from edgegen.artifacts.registry_patience import FAILURES, Attempts
from edgegen.core.errors import EdgegenError, IntegrityError, ToolMissingError

_MAX_TOKEN_BYTES = 256 << 10
_SHORTEST_S = 60  # a token without a life of its own lives so long (the specification's default)
_EARLY_S = 10
_MOST_TOKENS = 64
_PARAMETER = re.compile(r'([A-Za-z_]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_CLIENT = "edgegen"


class Authorization:
    """The ``Authorization`` headers of one registry, by what is to be done."""

    def __init__(self, http: Http, origin: str) -> None:
        self._http = http
        self._origin = origin
        self._host = urlsplit(origin).netloc
        self._lock = threading.RLock()
        self._scheme = ""
        self._parameters: dict[str, str] = {}
        self._tokens: dict[str, tuple[str, float]] = {}  # scope -> header, until when
        self._credentials: Credentials | None = None
        self._looked = False

    def learn(self, challenge: str | None) -> None:
        """Takes the registry's ``WWW-Authenticate``.

        Raises:
            ToolMissingError: neither Basic nor Bearer.
        """
        scheme, _, rest = (challenge or "").partition(" ")
        if scheme.lower() not in ("basic", "bearer"):
            raise ToolMissingError(
                "the registry asks for an authorization that edgegen does not have",
                where=self._host,
                got=challenge,
                expected="Basic or Bearer",
            )
        with self._lock:
            self._scheme = scheme.lower()
            self._parameters = {key.lower(): quoted or plain for key, quoted, plain in _PARAMETER.findall(rest[:4096])}

    def header(self, scope: str, *, again: bool = False) -> dict[str, str]:
        """The header to send, empty where none is asked for.

        Args:
            scope: e.g. ``repository:fw/kws:pull,push``.
            again: the last one was refused: get another.
        """
        with self._lock:
            if not self._scheme:
                return {}
            if self._scheme == "basic":
                found = self._known()
                if found is None:
                    raise self.refused("no name and password are known for it")
                return {"Authorization": found.basic()}
            header, until = self._tokens.get(scope, ("", 0.0))
            if again or time.monotonic() >= until:
                header, until = self._fetch(scope)
                if len(self._tokens) >= _MOST_TOKENS:
                    self._tokens.clear()
                self._tokens[scope] = header, until
            return {"Authorization": header}

    def refused(self, got: str) -> EdgegenError:
        """What to say where the registry does not let us in."""
        return ToolMissingError(
            "the registry does not let us in",
            where=self._host,
            got=got,
            next_step=f"skopeo login {self._host} (or docker login): edgegen reads the same files",
        )

    def _known(self) -> Credentials | None:
        if not self._looked:
            self._credentials, self._looked = find_credentials(self._host), True
        return self._credentials

    def _fetch(self, scope: str) -> tuple[str, float]:
        attempts = Attempts(self._http.patience, self._realm())
        while True:
            try:
                return self._fetch_once(scope)
            except FAILURES as error:
                attempts.failed(error)

    def _fetch_once(self, scope: str) -> tuple[str, float]:
        realm, known = self._realm(), self._known()
        query = {"service": self._parameters.get("service", ""), "scope": scope}
        if known is not None and known.is_token:
            form = {"grant_type": "refresh_token", "refresh_token": known.secret, "client_id": _CLIENT, **query}
            request = ("POST", realm, {"Content-Type": "application/x-www-form-urlencoded"}, urlencode(form).encode())
        else:
            address = f"{realm}{'&' if urlsplit(realm).query else '?'}{urlencode(query)}"
            request = ("GET", address, {"Authorization": known.basic()} if known else {}, b"")
        with self._http.ask(*request) as answer:
            if answer.status != 200:
                raise self.refused(f"the token server answers {answer.status}")
            table = strict_json(answer.read(_MAX_TOKEN_BYTES).body, "a token server's answer")
        token, lives = table.get("token") or table.get("access_token"), table.get("expires_in")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:
            raise self.refused("the token server's answer holds no token")
        seconds = max(lives, _SHORTEST_S) if isinstance(lives, int | float) else _SHORTEST_S
        return f"Bearer {token}", time.monotonic() + seconds - _EARLY_S

    def _realm(self) -> str:
        realm = self._parameters.get("realm", "")
        try:
            parts, own = urlsplit(realm), urlsplit(self._origin)
            usable = parts.scheme == "https" or (
                parts.scheme == "http" == own.scheme and parts.hostname == own.hostname
            )
            usable = usable and bool(parts.hostname) and "@" not in parts.netloc and not parts.fragment
        except ValueError:
            usable = False
        if not usable:
            raise IntegrityError(
                "the registry sends us to a token server that must not be trusted with a password",
                where=self._host,
                got=realm,
                expected="an address with https",
            )
        return realm
