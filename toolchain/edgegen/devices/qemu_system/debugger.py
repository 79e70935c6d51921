"""QEMU's debugger port (GDB's remote serial protocol): writes a machine's memory while it waits for a command.

An emulated serial port takes some 25,000 characters a second; this takes a small image in a millisecond.
Nothing is counted while it writes, and the firmware checks the block by its CRC-32.
"""

from __future__ import annotations

import socket
import time

from edgegen.core.errors import ToolMissingError

_TIMEOUT_S = 20.0
_CHUNK_BYTES = 1024  # QEMU 7.2 takes packets of 4096 characters
_MOST_BYTES = 1 << 16


class Debugger:
    """An open debugger port. The machine runs, but for the time of a call."""

    def __init__(self, connection: socket.socket, name: str) -> None:
        self._socket = connection
        self._socket.settimeout(_TIMEOUT_S)
        self._name = name
        self._came = b""
        self._ask("?")
        self._send("c")

    def write(self, address: int, data: bytes) -> None:
        """Puts ``data`` into the machine's memory.

        Raises:
            ToolMissingError: the emulator is gone, or refuses.
        """
        self._send_raw(b"\x03")
        self._packet()
        for begin in range(0, len(data), _CHUNK_BYTES):
            piece = data[begin : begin + _CHUNK_BYTES]
            answer = self._ask(f"M{address + begin:x},{len(piece):x}:{piece.hex()}")
            if answer != "OK":
                raise self._failure(f"{answer!r} to a write of {len(piece)} bytes at {address + begin:#x}")
        self._send("c")

    def close(self) -> None:
        """Closes the port."""
        self._socket.close()

    def _ask(self, text: str) -> str:
        self._send(text)
        return self._packet()

    def _send(self, text: str) -> None:
        self._send_raw(f"${text}#{sum(text.encode()) & 255:02x}".encode())

    def _send_raw(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._failure(str(error)) from error

    def _packet(self) -> str:
        """The next packet's text; acknowledgements in between are dropped."""
        deadline = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < deadline:
            begin = self._came.find(b"$")
            end = self._came.find(b"#", begin)
            if begin >= 0 and 0 <= end <= len(self._came) - 3:
                text = self._came[begin + 1 : end].decode("ascii", "replace")
                self._came = self._came[end + 3 :]
                self._send_raw(b"+")
                return text
            try:
                chunk = self._socket.recv(4096)
            except OSError as error:
                raise self._failure(str(error)) from error
            if not chunk or len(self._came) > _MOST_BYTES:
                raise self._failure("the port closed or floods")
            self._came += chunk
        raise self._failure(f"no answer within {_TIMEOUT_S:g} s")

    def _failure(self, why: str) -> ToolMissingError:
        return ToolMissingError(
            "the emulator's debugger port fails", where=self._name, got=why, next_step="repeat the command"
        )
