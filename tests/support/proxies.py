"""A proxy in this process: CONNECT and whole addresses, with a password, to servers of this machine by another name."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

USER, PASSWORD = "corner", "p@ss/w:rd"
NAME = "registry.test"  # known to the proxy alone


class Proxy:
    """Lets those in that know the password; ``seen`` lists the first lines of what they asked for."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.seen: list[str] = []
        self.answers: bytes | None = None  # instead of doing what it is asked
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def bare(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return f"http://{USER}:p%40ss%2Fw%3Ard@127.0.0.1:{self.port}"

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = _head(client)
            first, _, rest = head.partition(b"\r\n")
            self.seen.append(first.decode())
            expected = base64.b64encode(f"{USER}:{PASSWORD}".encode())
            if self.answers is not None or b"Proxy-Authorization: Basic " + expected not in rest:
                client.sendall(self.answers or b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
                return
            method, target, _ = first.decode().split(" ")
            port = urlsplit(target if "://" in target else f"//{target}").port
            with socket.create_connection(("127.0.0.1", port), 5) as server:
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 Go on\r\n\r\n")
                else:
                    path = target.partition(NAME)[2].partition("/")[2]
                    server.sendall(f"{method} /{path} HTTP/1.1\r\nConnection: close\r\n".encode() + rest)
                threading.Thread(target=_pass, args=(client, server), daemon=True).start()
                if method != "CONNECT":  # one request a connection
                    client.sendall(_head(server).replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
                _pass(server, client)


def _head(client: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n") and (more := client.recv(1)):
        head += more
    return head


def _pass(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(1 << 16):
            other.sendall(data)
    for end in (one, other):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def running_proxy() -> Iterator[Proxy]:
    """The proxy for the length of the block."""
    proxy = Proxy()
    try:
        yield proxy
    finally:
        proxy.close()
