"""Devices for tests of the protocol's client: the firmware as a process of this host, and one that is not edgegen's."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgegen.core.share import share_dir
from edgegen.devices.mcu.client import MAX_LINE_BYTES, McuClient
from edgegen.devices.mcu.firmware import model_digest
from edgegen.devices.mcu.glue import glue
from edgegen.devices.mcu.interface import read_interface
from edgegen.devices.mcu.wiring import wiring_of, wiring_text
from edgegen.links.serial import connected_lines
from support.mcu_models import write_model

_PARTS = ("board", "crc32", "extension", "fault", "firmware", "host", "protocol", "text", "timing")
_FLAGS = ("-std=c99", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wconversion")
_CONSTANTS = ("-DEG_COUNTER_HZ=1000000u", '-DEG_MACHINE="host"', "-DEG_PROFILED_OPERATORS=2")


def host_firmware(
    folder: Path, *, inputs: int = 784, outputs: int = 16, model: Path | None = None
) -> tuple[Path, Path]:
    """The firmware of a small model as a program of this host, with the sanitizers on, and the model's ``model.c``."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler on PATH: apt install gcc")
    folder.mkdir(parents=True, exist_ok=True)
    model = model or write_model(folder / "model", inputs=inputs, outputs=outputs)
    wiring = wiring_of(read_interface(model.parent))
    (folder / "glue.c").write_text(glue(read_interface(model.parent), model_digest(model.parent)), encoding="utf-8")
    port, program = share_dir("runtimes") / "mcu" / "port", folder / "firmware"
    sources = [*(port / f"eg_{part}.c" for part in _PARTS), folder / "glue.c", model]
    speech: tuple[str, ...] = ()
    if wiring is not None:
        (folder / "wiring.c").write_text(wiring_text(wiring), encoding="utf-8")
        sources += [folder / "wiring.c", *(port / f"eg_{part}.c" for part in ("generation", "speech"))]
        speech = ("-DEG_GENERATION", "-ffp-contract=off")
    checks = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DEG_PROFILE=eg_profile")
    command = [
        "cc",
        *_FLAGS,
        *checks,
        *_CONSTANTS,
        *speech,
        "-I",
        str(port),
        "-I",
        str(model.parent),
        "-o",
        str(program),
    ]
    subprocess.run([*command, *map(str, sources)], check=True)
    return program, model


@contextlib.contextmanager
def running(program: Path) -> Iterator[socket.socket]:
    """The firmware at the other end of a socket; it must not have complained when the test is over."""
    ours, theirs = socket.socketpair()
    # Nothing is allocated, so leaks are not looked for.
    quick = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    with subprocess.Popen([str(program)], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=quick) as process:
        theirs.close()
        try:
            yield ours
        finally:
            with contextlib.suppress(OSError):  # a thread may wait on it, which closing alone does not end
                ours.shutdown(socket.SHUT_RDWR)
            ours.close()
            try:
                _, complaints = process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()  # leaving the block would wait for it
                raise
    assert not complaints, complaints.decode(errors="replace")


def client(connection: socket.socket, *, timeout_s: float = 10.0) -> McuClient:
    """A client at one end of a socket."""
    link = connected_lines(connection, "device", timeout_s=timeout_s, max_line_bytes=MAX_LINE_BYTES)
    return McuClient(link, timeout_s=timeout_s, name="device")


@contextlib.contextmanager
def between(device: socket.socket, spoil: Callable[[bytes], bytes]) -> Iterator[socket.socket]:
    """A line to ``device`` on which ``spoil`` sees every chunk that comes from it."""
    ours, theirs = socket.socketpair()

    def pump(source: socket.socket, sink: socket.socket, change: Callable[[bytes], bytes]) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(4096):
                sink.sendall(change(chunk))
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    threads = [
        threading.Thread(target=pump, args=(device, theirs, spoil), daemon=True),
        threading.Thread(target=pump, args=(theirs, device, bytes), daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield ours
    finally:
        ours.close()
        with contextlib.suppress(OSError):
            device.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)
        theirs.close()


@contextlib.contextmanager
def bridged(device: socket.socket, most: int | None = None) -> Iterator[int]:
    """A TCP port whose one client speaks with ``device``; after ``most`` bytes of the device's the line is cut."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            back = threading.Thread(target=pump, args=(device, connection, most), daemon=True)
            back.start()
            pump(connection, device, None)

    def pump(source: socket.socket, sink: socket.socket, most: int | None) -> None:
        passed = 0
        while most is None or passed < most:
            try:
                chunk = source.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                return
            if not chunk:
                return
            chunk = chunk if most is None else chunk[: most - passed]
            passed += len(chunk)
            with contextlib.suppress(OSError):
                sink.sendall(chunk)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


class PlainDevice:
    """A device prepared for MLPerf Tiny that knows nothing of edgegen, written from the published protocol.

    mlcommons/tiny at commit 1afd2c98 (benchmark/api/internally_implemented.cpp and runner): commands ended by ``%``,
    at most 80 characters; every answer ends with ``m-ready``.
    """

    def __init__(self, infer: Callable[[bytes], list[float]], *, most_bytes: int = 27648) -> None:
        self._infer, self._most = infer, most_bytes
        self._buffer, self._announced = bytearray(), 0
        self._results: list[float] = [0.0]
        self._lap_us = 1000

    def serve(self, connection: socket.socket) -> None:
        """Until the other side closes."""
        self._say(connection, ["m-timestamp-mode-performance", self._lap(), "m-init-done", "m-ready"])
        pending = b""
        with contextlib.suppress(OSError):
            while chunk := connection.recv(4096):
                *commands, pending = (pending + chunk).split(b"%")
                for command in commands:
                    self._say(connection, [*self._answer(command[:80].decode("latin-1").strip()), "m-ready"])

    def _answer(self, command: str) -> list[str]:
        word, *arguments = command.split(" ") if command else [""]
        known = {
            "name": lambda: ["m-name-dut-[unspecified]"],
            "profile": lambda: ["m-profile-[ULPMark for tinyML Firmware V0.0.1]", "m-model-[kws01]"],
            "timestamp": lambda: [self._lap()],
            "results": lambda: [self._shown()],
            "db": lambda: self._db(arguments),
            "infer": lambda: self._run(*(int(text) for text in (arguments + ["1", "10"][len(arguments) :])[:2])),
        }
        return known[word]() if word in known else [f"e-[Unknown command: {word}]"]

    def _db(self, arguments: list[str]) -> list[str]:
        if arguments[0] == "load":
            count = int(arguments[1])
            if count == 0:
                return ["e-[Command 'db load' must be >0 bytes]"]
            if count > self._most:
                return [f"Supplied buffer size {count} exceeds maximum of {self._most}"]
            self._announced, self._buffer = count, bytearray()
            return [f"m-[Expecting {count} bytes]"]
        if arguments[0] == "print":
            rows = [self._buffer[begin : begin + 8] for begin in range(0, len(self._buffer), 8)]
            return ["m-buffer" + "".join(f"-{byte:02x}" for byte in row) for row in rows]
        self._buffer += bytes.fromhex(arguments[0])
        return ["m-load-done"] if len(self._buffer) >= self._announced else []

    def _run(self, runs: int, warm_ups: int) -> list[str]:
        self._results = self._infer(bytes(self._buffer))
        begin = self._lap()
        self._lap_us += 250 * runs
        told = [f"m-warmup-start-{warm_ups}", "m-warmup-done", f"m-infer-start-{runs}", begin, self._lap()]
        return [*told, "m-infer-done", self._shown()]

    def _lap(self) -> str:
        return f"m-lap-us-{self._lap_us}"

    def _shown(self) -> str:
        return f"m-results-[{','.join(f'{value:.3f}' for value in self._results)}]"

    @staticmethod
    def _say(connection: socket.socket, lines: list[str]) -> None:
        connection.sendall("".join(f"{line}\r\n" for line in lines).encode())
