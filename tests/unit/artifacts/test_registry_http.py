"""A server that drips, never ends, sends us elsewhere or lies about lengths."""

from __future__ import annotations

import time
from http.client import HTTPException

import pytest
from pushed_bundle import QUICK

from edgegen.artifacts.registry_http import BlobAnswer, Http, Trust
from edgegen.artifacts.registry_patience import FAILURES, Attempts, BusyError, TooSlowError
from edgegen.artifacts.transfer import Descriptor
from edgegen.core.errors import IntegrityError, ToolMissingError
from support.fake_registry import FakeRegistry, fake_registry


@pytest.fixture
def server():
    with fake_registry() as found:
        yield found


@pytest.fixture
def http():
    found = Http(QUICK, Trust())
    yield found
    found.close()


def get(http: Http, server: FakeRegistry, path: str = "/x", limit: int = 1 << 20, **headers: str) -> bytes:
    with http.ask("GET", f"http://{server.host}{path}", headers) as answer:
        return answer.read(limit).body


def raw(server: FakeRegistry, *pieces: bytes, pause_s: float = 0.0, forever: bytes = b"") -> None:
    """The next answers are these bytes, then ``forever`` again and again."""

    def answer(handler):
        handler.close_connection = True
        try:
            for piece in pieces:
                handler.wfile.write(piece)
                time.sleep(pause_s)
            while forever:
                handler.wfile.write(forever)
        except OSError:
            pass
        return True

    server.before = answer


def test_answer_is_read_over_one_connection_again_and_again(server, http):
    server.files["/x"] = b"y" * 100_000
    clients = set()
    server.before = lambda handler: clients.add(handler.client_address) and False
    assert all(get(http, server) == b"y" * 100_000 for _ in range(5))
    assert len(clients) == 1


def test_connection_that_the_server_ended_is_not_used_again(server, http):
    server.files["/x"] = b"y"

    def closing(handler):
        handler.answer(200, b"y")
        handler.close_connection = True
        return True

    server.before = closing
    for _ in range(3):
        assert get(http, server) == b"y"
        time.sleep(0.05)


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n", *[b"x"] * 40],
        [b"HTTP/1.1 200 OK\r\n", *[b"X-A: 1\r\n"] * 40],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n"] * 40],
        [*[b"HTTP/1.1 100 Continue\r\n\r\n"] * 40],
    ],
    ids=["body", "headers", "chunked", "continue"],
)  # fmt: skip
def test_server_that_drips_is_left(server, http, pieces):
    raw(server, *pieces, pause_s=0.05)
    started = time.monotonic()
    with pytest.raises(TooSlowError):
        get(http, server)
    assert time.monotonic() - started < 1.9


def test_server_that_falls_silent_is_a_failure_that_may_pass(server, http):
    raw(server, b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + b"x" * 5000, pause_s=1.5)
    with pytest.raises(TimeoutError):
        get(http, server)


@pytest.mark.parametrize(
    ("head", "forever"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"400\r\n" + b"x" * 1024 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: more\r\n" * 100),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\n", b"X-Many: 1\r\n" * 100),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n", b"x" * 65536),
    ],
    ids=["until-closed", "chunked", "trailers", "continue", "header-line", "headers", "announced"],
)
def test_data_without_an_end_is_refused(server, http, head, forever):
    raw(server, head, forever=forever)
    with pytest.raises((IntegrityError, HTTPException)):
        get(http, server, limit=100_000)


def test_body_shorter_than_announced_is_a_failure_that_may_pass(server, http):
    raw(server, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
    with pytest.raises(FAILURES):
        get(http, server)


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:1/x", "http://example.com/x", "file:///etc/passwd", "ftp://127.0.0.1/x", "//example.com/x",
        "https://user:pw@example.com/x", "https:///x", "http://[::1/x", "javascript:x",
    ],
)  # fmt: skip
def test_redirect_to_where_it_must_not_lead_is_refused(server, http, target):
    server.before = lambda handler: handler.answer(307, Location=target) or True
    with pytest.raises(IntegrityError, match="redirect"):
        get(http, server)


def test_redirects_without_an_end_are_refused(server, http):
    server.before = lambda handler: handler.answer(307, Location=f"{handler.path}x") or True
    with pytest.raises(IntegrityError, match="round"):
        get(http, server)
    assert len(server.seen) == 6


def test_redirect_on_the_same_server_keeps_the_authorization_and_another_loses_it(server, http, monkeypatch):
    server.files["/there"] = b"found"
    server.before = lambda handler: handler.path == "/x" and (handler.answer(307, Location="/there") or True)
    assert get(http, server, Authorization="secret") == b"found"
    assert server.seen[-1][2]["authorization"] == "secret"
    with fake_registry() as other:
        other.files["/y"] = b"elsewhere"
        server.before = lambda handler: handler.answer(307, Location=f"https://{other.host}/y") or True
        # Without certificates here, the way to the other server is told by its refusal to speak TLS.
        monkeypatch.setattr(http, "_connection", _over_http(http, other.host))
        assert get(http, server, Authorization="secret") == b"elsewhere"
        assert "authorization" not in other.seen[-1][2]


def _over_http(http: Http, host: str):
    usual = http._connection
    return lambda url: usual(url.replace(f"https://{host}", f"http://{host}"))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 408])
def test_busy_server_asks_to_come_again(server, http, status):
    server.before = lambda handler: handler.answer(status, Retry_After="7") or True
    with pytest.raises(BusyError) as caught:
        get(http, server)
    assert caught.value.pause_s == 7


def test_attempts_end_and_progress_begins_them_anew():
    attempts = Attempts(QUICK, "somewhere")
    for done in range(1, 9):
        attempts.failed(ConnectionResetError("cut"), done << 20)
    attempts.failed(ConnectionResetError("cut"), 8 << 20)
    with pytest.raises(ToolMissingError, match="3 attempts"):
        attempts.failed(ConnectionResetError("cut"), 8 << 20)
    with pytest.raises(ToolMissingError, match="cannot be reached"):
        attempts.failed(PermissionError("no"))


def test_pause_that_a_server_asks_for_is_bounded():
    attempts, started = Attempts(QUICK, "somewhere"), time.monotonic()
    attempts.failed(BusyError(503, 99999))
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {"Content-Length": "11"}),
        (206, {"Content-Range": "bytes 3-9/10", "Content-Length": "7"}),
        (206, {"Content-Range": "bytes 4-9/11", "Content-Length": "6"}),
        (206, {"Content-Range": "x", "Content-Length": "6"}),
        (206, {"Content-Range": "bytes 4-9/10", "Content-Length": "7"}),
        (206, {"Content-Length": "6"}),
    ],
)
def test_blob_of_another_size_or_place_is_refused(server, http, status, headers):
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    raw(server, f"HTTP/1.1 {status} OK\r\n{lines}\r\n".encode() + b"x" * 20)
    wanted = Descriptor(digest=f"sha256:{'00' * 32}", size_bytes=10, media_type="x")
    with (
        pytest.raises(IntegrityError, match="another size"),
        http.ask("GET", f"http://{server.host}/x", {"Range": "bytes=4-"}) as answer,
    ):
        BlobAnswer(answer, wanted, 4)


def test_address_with_a_line_break_is_not_sent(server, http):
    with (
        pytest.raises(IntegrityError, match="none may hold"),
        http.ask("GET", f"http://{server.host}/x", {"A": "b\r\nEvil: 1"}),
    ):
        pass
