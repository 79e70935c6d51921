"""A registry in this process that keeps to the specification, until a test tells it to misbehave."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
USER, PASSWORD, TOKEN = "user", "pass:word", "a.token"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class FakeRegistry(ThreadingHTTPServer):
    """Answers the distribution API from memory.

    ``before`` sees each request first and answers it itself by returning True; ``seen`` lists method, path and headers.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}  # "name:tag" and "name@digest" -> media type, bytes
        self.uploads: dict[str, bytearray] = {}
        self.numbers = itertools.count()
        self.lists_referrers = False
        self.cut_upload_at: int | None = None
        self.auth = ""  # "basic", "bearer" or none
        self.realm = f"http://{self.host}/token"
        self.files: dict[str, bytes] = {}  # other paths, as a web server has them
        self.ranges = True
        self.before: Callable[[_Handler], bool] = lambda handler: False
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what is tested here."""

    def put(self, name: str, reference: str, media: str, data: bytes) -> None:
        self.manifests[f"{name}@{digest_of(data)}"] = media, data
        if not reference.startswith("sha256:"):
            self.manifests[f"{name}:{reference}"] = media, data

    def calls(self, method: str, part: str = "") -> list[str]:
        return [path for verb, path, _ in self.seen if verb == method and part in path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FakeRegistry

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def _serve(self) -> None:
        server = self.server
        with server.lock:
            server.seen.append((self.command, self.path, {key.lower(): value for key, value in self.headers.items()}))
        if server.before(self):
            return
        path = urlsplit(self.path).path
        if path == "/token":
            self._token()
        elif path.startswith("/v2/"):
            if not self._allowed():
                return
            self._api(path)
        elif path in server.files:
            self.answer_blob(server.files[path])
        else:
            self.answer(404)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _serve

    # -- answers ---------------------------------------------------------------------------------------------------

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_blob(self, data: bytes, **headers: str) -> None:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if match is None or not self.server.ranges:
            self.answer(200, data, **headers)
            return
        start = int(match.group(1))
        self.answer(206, data[start:], Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}", **headers)

    def cut(self) -> None:
        """Ends the connection at once."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    # -- the API ---------------------------------------------------------------------------------------------------

    def _token(self) -> None:
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != expected:
            self.answer(401)
            return
        self.answer(200, json.dumps({"token": TOKEN, "expires_in": 300}).encode())

    def _allowed(self) -> bool:
        server, given = self.server, self.headers.get("Authorization", "")
        expected = {
            "": given,
            "basic": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(),
            "bearer": f"Bearer {TOKEN}",
        }[server.auth]
        if given == expected:
            return True
        self.body()
        challenge = 'Basic realm="lab"'
        if server.auth == "bearer":
            challenge = f'Bearer realm="{server.realm}",service="fake",scope="repository:x:pull"'
        self.answer(401, WWW_Authenticate=challenge)
        return False

    def _api(self, path: str) -> None:
        if path == "/v2/":
            self.answer(200, b"{}")
            return
        match = re.fullmatch(r"/v2/(.+?)/(manifests|blobs|referrers|tags)/(.*)", path)
        if match is None:
            self.answer(404)
            return
        name, kind, rest = match.groups()
        if kind == "manifests":
            self._manifest(name, rest)
        elif kind == "referrers":
            self._referrers(name, rest)
        elif kind == "tags":
            tags = [key.partition(":")[2] for key in self.server.manifests if key.startswith(f"{name}:")]
            self.answer(200, json.dumps({"name": name, "tags": tags}).encode())
        elif rest.startswith("uploads/"):
            self._upload(name, rest.removeprefix("uploads/"))
        elif rest in self.server.blobs:
            self.answer_blob(self.server.blobs[rest])
        else:
            self.answer(404)

    def _manifest(self, name: str, reference: str) -> None:
        server = self.server
        if self.command == "PUT":
            data = self.body()
            server.put(name, reference, self.headers["Content-Type"], data)
            subject = json.loads(data).get("subject")
            told = {"OCI_Subject": subject["digest"]} if subject and server.lists_referrers else {}
            self.answer(201, Docker_Content_Digest=digest_of(data), **told)
            return
        found = server.manifests.get(f"{name}{'@' if reference.startswith('sha256:') else ':'}{reference}")
        if found is None:
            self.answer(404)
        else:
            self.answer(200, found[1], Content_Type=found[0], Docker_Content_Digest=digest_of(found[1]))

    def _referrers(self, name: str, digest: str) -> None:
        if not self.server.lists_referrers:
            self.answer(404)
            return
        found = []
        for key, (media, data) in self.server.manifests.items():
            table = json.loads(data)
            if key.startswith(f"{name}@") and table.get("subject", {}).get("digest") == digest:
                kind = {"artifactType": table["artifactType"]}
                found.append({"mediaType": media, "digest": digest_of(data), "size": len(data), **kind})
        # Two to a page, so that pages are followed.
        page = int(parse_qs(urlsplit(self.path).query).get("page", ["0"])[0])
        shown, more = found[2 * page : 2 * page + 2], len(found) > 2 * page + 2
        link = {"Link": f'</v2/{name}/referrers/{digest}?page={page + 1}>; rel="next"'} if more else {}
        body = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": shown}).encode()
        self.answer(200, body, Content_Type=INDEX_TYPE, **link)

    def _upload(self, name: str, session: str) -> None:
        server, query = self.server, parse_qs(urlsplit(self.path).query)
        if self.command == "POST":
            if query.get("mount", [""])[0] in server.blobs:
                self.answer(201)
                return
            session = str(next(server.numbers))
            server.uploads[session] = bytearray()
        elif session not in server.uploads:
            self.body()
            self.answer(404)
            return
        held, address = server.uploads[session], f"/v2/{name}/blobs/uploads/{session}?state={session}"
        if self.command == "PATCH":
            start = int(self.headers["Content-Range"].partition("-")[0])
            if start != len(held):
                self.body()
                self.answer(416, Location=address, Range=f"0-{max(len(held) - 1, 0)}")
                return
            self._take(held)
        if self.command == "PUT":
            self._take(held)
            digest = query["digest"][0]
            if digest_of(bytes(held)) != digest:
                self.answer(400, b'{"errors":[{"code":"DIGEST_INVALID"}]}')
                return
            server.blobs[digest] = bytes(held)
            del server.uploads[session]
            self.answer(201, Location=f"/v2/{name}/blobs/{digest}", Docker_Content_Digest=digest)
            return
        status = 204 if self.command == "GET" else 202
        self.answer(status, Location=address, Range=f"0-{max(len(held) - 1, 0)}")

    def _take(self, held: bytearray) -> None:
        """Keeps what arrives as it arrives, so that a cut leaves what was sent."""
        left = int(self.headers.get("Content-Length", "0"))
        while left and (chunk := self.rfile.read1(min(left, 65536))):
            held += chunk
            left -= len(chunk)
            limit = self.server.cut_upload_at
            if left and limit is not None and len(held) >= limit:
                self.server.cut_upload_at = None
                self.cut()
                raise ConnectionAbortedError


@contextmanager
def fake_registry() -> Iterator[FakeRegistry]:
    """A registry for the length of the block."""
    server = FakeRegistry()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
