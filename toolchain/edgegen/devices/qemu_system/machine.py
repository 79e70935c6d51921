"""One emulated machine in a process of its own, that ends with ours however ours ends."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from edgegen.core.errors import ToolMissingError
from edgegen.core.targets import Microcontroller
from edgegen.devices.mcu.client import MAX_LINE_BYTES, McuClient
from edgegen.devices.qemu_system.debugger import Debugger
from edgegen.devices.qemu_system.emulator import Qemu
from edgegen.links.serial import connected_lines

_START_TIMEOUT_S = 30.0
_SHORT_S = 30.0  # a busy host may leave the emulator without a core for seconds
_END_TIMEOUT_S = 5.0
_LAST_WORDS_BYTES = 400
# Becomes the emulator, having asked the kernel to be killed when the thread that started it ends. In a process of its
# own, because code between fork and exec is not safe in a process with threads.
_ENDS_WITH_US = """
import ctypes, json, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
os.execve(sys.argv[3], sys.argv[3:], json.loads(sys.argv[2]))
"""


class Machine:
    """A machine that runs a firmware and has greeted. ``client`` speaks with it, ``debugger`` writes its memory."""

    def __init__(self, qemu: Qemu, mcu: Microcontroller, elf: Path, folder: Path, *, timeout_s: float) -> None:
        """Starts it.

        Args:
            folder: short path, for sockets; several machines need several.
            timeout_s: the longest an inference may take.

        Raises:
            ToolMissingError: the emulator does not start, or the firmware does not greet.
        """
        self._words = folder / "qemu.txt"
        self._cleanup = contextlib.ExitStack()
        name = f"{mcu.machine}, emulated"
        try:
            ports = [self._cleanup.enter_context(_listening(folder / word)) for word in ("serial", "debugger")]
            self._process = self._start(qemu, mcu, elf, folder)
            serial, debugger = (self._accepted(port) for port in ports)
            link = connected_lines(serial, name, timeout_s=timeout_s, max_line_bytes=MAX_LINE_BYTES)
            self._cleanup.callback(link.close)
            self.client = McuClient(link, timeout_s=timeout_s, name=name, alive=self._state, short_s=_SHORT_S)
            self.debugger = Debugger(debugger, name)
            self.client.greeted()
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether the emulator still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """Ends it."""
        self._cleanup.close()

    def _start(self, qemu: Qemu, mcu: Microcontroller, elf: Path, folder: Path) -> subprocess.Popen[bytes]:
        command = [
            *(qemu.program, "-machine", mcu.machine, *(("-cpu", mcu.cpu) if mcu.cpu else ())),
            *("-nographic", "-monitor", "none", "-net", "none", "-no-reboot"),
            *(("-bios", "none") if mcu.machine == "virt" else ()),
            *("-icount", f"shift={mcu.icount_shift},sleep=off", "-kernel", str(elf)),
            *("-chardev", "socket,id=serial,path=serial", "-serial", "chardev:serial"),
            *("-chardev", "socket,id=debugger,path=debugger", "-gdb", "chardev:debugger"),
        ]
        words = self._cleanup.enter_context(self._words.open("wb"))
        launch = [sys.executable, "-I", "-S", "-c", _ENDS_WITH_US, str(os.getpid()), json.dumps(dict(qemu.env))]
        try:
            process = subprocess.Popen(
                [*launch, *command],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
            )
        except OSError as error:
            raise ToolMissingError("the emulator does not start", where=qemu.program, got=error) from error
        self._cleanup.callback(_end, process)
        return process

    def _accepted(self, port: socket.socket) -> socket.socket:
        try:
            connection, _ = port.accept()
        except OSError as error:
            raise ToolMissingError(
                "the emulator does not start", got=self._state() or error, next_step="edgegen doctor checks the tools"
            ) from error
        self._cleanup.callback(connection.close)
        return connection

    def _state(self) -> str:
        """What is known of an emulator that does not answer."""
        status = self._process.poll()
        said = self._words.read_bytes()[-_LAST_WORDS_BYTES:].decode(errors="replace").strip()
        ended = "" if status is None else f"the emulator ended with status {status}"
        return "; ".join(part for part in (ended, said) if part)


@contextlib.contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as port:
        try:
            port.bind(str(path))
        except OSError as error:
            raise ToolMissingError(
                "no socket for the emulator",
                where=str(path),
                got=error,
                next_step="make /tmp writable",
            ) from error
        port.listen(1)
        port.settimeout(_START_TIMEOUT_S)
        yield port


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_TIMEOUT_S)
