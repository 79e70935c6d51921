"""A machine reached by the OpenSSH client: one connection, every command on it bounded in time and in what it may say.

The client's own configuration applies (``~/.ssh/config``, agent, known hosts), and nothing is ever asked: a key that
is not set up or a host that is not known is an error that says so. ``EDGEGEN_SSH_CONFIG`` names another such file.

The connection belongs to a *holder*: a command that is started with it and whose standard input is ours. However this
process ends, that input ends with it, so the holder notices and can tidy up where it runs.
"""

from __future__ import annotations

import os
import re
import secrets
import selectors
import shlex
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from edgegen.core.digests import sha256_file
from edgegen.core.errors import TargetError, ToolMissingError

CONFIG_VARIABLE = "EDGEGEN_SSH_CONFIG"
CONNECT_S = 15.0
COMMAND_S = 60.0
_ALIVE_S, _ALIVE_TIMES = 5, 3  # a peer that says nothing for so long is gone
_END_S = 5.0
_TEXT_BYTES = 1 << 20
_LAST_WORDS = 600
_CHUNK = 1 << 16
_LOST = 255  # the client's own exit status; no command of ours ends with it
_USER = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]{0,252}|[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?")
# What the client says -> what a person does about it. Trying again helps with none of these.
_HOPELESS = {
    "Permission denied": "put your key on the machine (ssh-copy-id) and into your agent; no password is asked",
    "Host key verification failed": "connect once by hand (ssh USER@HOST) and check its key there",
    "REMOTE HOST IDENTIFICATION HAS CHANGED": "find out why its key is another one before you trust it",
    "Could not resolve hostname": "check the name, or give it a `Host` entry in ~/.ssh/config",
    "Bad configuration option": "mend the ssh configuration file",
    "Can't open user config file": f"mend {CONFIG_VARIABLE}",
}
_UNREACHED = "check that the machine is on, its address, and that `ssh` reaches it, then repeat the command"


class LinkLostError(ToolMissingError):
    """The connection is gone or could not be made this time; another attempt may succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshAddress:
    """Whom to connect to."""

    host: str
    user: str | None = None
    port: int | None = None

    @property
    def url(self) -> str:
        """The address as one writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh://{f'{self.user}@' if self.user else ''}{host}{f':{self.port}' if self.port else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How a command ended."""

    status: int
    text: str  # its standard output
    words: str  # the end of its standard error


def parse_address(url: str) -> SshAddress:
    """The address in ``ssh://[user@]host[:port]``.

    Raises:
        TargetError: anything else; also names that the client would take for an option.
    """
    expected = "ssh://user@host or ssh://user@host:port"
    try:
        parts = urlsplit(url)
        host, port, user = parts.hostname or "", parts.port, parts.username
    except ValueError as error:
        raise TargetError("not an ssh address", got=url, expected=expected) from error
    # urlsplit lowers the host's letters, which an entry of the client's configuration may not be.
    written = parts.netloc.rpartition("@")[2]
    host = written[written.lower().find(host) :][: len(host)] if host else host
    more = parts.path not in ("", "/") or parts.query or parts.fragment or parts.password is not None
    if parts.scheme != "ssh" or not url.isprintable() or more or not _HOST.fullmatch(host) or port == 0:
        raise TargetError("not an ssh address", got=url, expected=f"{expected}, and nothing after it")
    if user is not None and not _USER.fullmatch(user):
        raise TargetError("not a user's name", where=url, got=user, expected=expected)
    return SshAddress(host=host, user=user, port=port)


class SshLink:
    """One connection and its holder. Not for two threads at once, but for ``say``."""

    def __init__(
        self,
        address: SshAddress,
        folder: Path,
        *,
        connect_s: float = CONNECT_S,
        config: Path | None = None,
    ) -> None:
        """``folder``: an empty one with a short path, for the connection's socket. ``config``: see the module."""
        named = config or os.environ.get(CONFIG_VARIABLE)
        self._address = address
        self._connect_s = connect_s
        self._socket = folder / "c"
        self._said = folder / "said"
        target = [*(("-p", str(address.port)) if address.port else ()), *(("-l", address.user) if address.user else ())]
        self._common = [
            *("ssh", *(("-F", str(named)) if named else ()), "-T", "-x", "-a", "-S", str(self._socket)),
            *("-o", "BatchMode=yes", "-o", f"ConnectTimeout={max(1, round(connect_s))}", "-o", "ConnectionAttempts=1"),
            *("-o", f"ServerAliveInterval={_ALIVE_S}", "-o", f"ServerAliveCountMax={_ALIVE_TIMES}"),
            *("-o", "ControlPersist=no", "-o", "PermitLocalCommand=no", "-o", "ClearAllForwardings=yes", *target),
        ]
        self._holder: subprocess.Popen[bytes] | None = None
        self._heard = bytearray()

    @property
    def url(self) -> str:
        """Where it leads."""
        return self._address.url

    def open(self, command: str) -> None:
        """Connects and starts the holder; a link that was open is closed first.

        Raises:
            LinkLostError: nobody answers.
            ToolMissingError: no client here, or it is refused for good: the key, the host's key, the name.
        """
        self.close()
        self._heard.clear()
        try:
            with self._said.open("wb") as said:
                self._holder = subprocess.Popen(
                    [*self._common, "-M", "--", self._address.host, f"exec sh -c {shlex.quote(command)}"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    start_new_session=True,  # Ctrl-C is ours to answer: the holder gets to tidy up
                )
        except OSError as error:
            raise ToolMissingError(
                "no ssh client here", where=self.url, got=error, next_step="apt install openssh-client"
            ) from error
        deadline = time.monotonic() + self._connect_s + 1
        while not self._socket.exists():
            if self._holder.poll() is not None or time.monotonic() > deadline:
                raise self._gone("the machine cannot be reached by ssh")
            time.sleep(0.02)

    def line(self, timeout_s: float) -> str:
        """The holder's next line.

        Raises:
            LinkLostError: it ended, the connection is lost, or nothing came in time.
        """
        holder = self._holder
        if holder is None or holder.stdout is None:
            raise self._gone("the connection is closed")
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._heard:
            chunk = _read(holder.stdout, deadline)
            if chunk is None:
                raise self._gone(f"the machine said nothing for {timeout_s:g} s")
            if not chunk or len(self._heard) > _TEXT_BYTES:
                raise self._gone("the connection was lost")
            self._heard += chunk
        line, _, rest = self._heard.partition(b"\n")
        self._heard = bytearray(rest)
        return line.decode("utf-8", "replace")

    def say(self, text: str) -> bool:
        """Sends the holder a line; False where it is gone. May be called from another thread."""
        holder = self._holder
        if holder is None or holder.stdin is None or holder.poll() is not None:
            return False
        try:
            holder.stdin.write(text.encode() + b"\n")
            holder.stdin.flush()
        except (OSError, ValueError):
            return False
        return True

    def run(self, script: str, *, timeout_s: float = COMMAND_S, source: Path | None = None) -> Reply:
        """Runs a script of the POSIX shell, ``source`` its standard input, and waits for its end.

        Raises:
            LinkLostError: the connection was lost before the script had ended.
            ToolMissingError: it did not end within ``timeout_s``, or says more than a MiB.
        """
        token = secrets.token_hex(8)
        text, words = self._exchange(f"{{ {script}\n}}\nprintf '\\n%s %s\\n' {token} $?", timeout_s, source, None)
        # A status that came through is the only proof that the script ran to its end.
        head, mark, status = text.decode("utf-8", "replace").rpartition(f"\n{token} ")
        if not mark or not status.strip().isdecimal():
            raise self._gone("the connection was lost during a command", words)
        return Reply(status=int(status), text=head, words=words)

    def put(self, source: Path, target: str, *, digest: str, timeout_s: float) -> None:
        """Writes a file there, whole or not at all: what arrived must have the digest (hex sha256).

        Raises:
            LinkLostError: as ``run``; also where what arrived is not what was sent.
            ToolMissingError: it cannot be written.
        """
        part, final = shlex.quote(f"{target}.part"), shlex.quote(target)
        script = f"cat > {part} && set -- $(sha256sum < {part}) && echo $1 && [ $1 = {digest} ] && mv {part} {final}"
        reply = self.run(script, timeout_s=timeout_s, source=source)
        if reply.status == 0 and reply.text.strip() == digest:
            return
        arrived = reply.text.strip()
        if re.fullmatch(r"[0-9a-f]{64}", arrived) and arrived != digest:
            raise LinkLostError("a file did not arrive as it was sent", where=self.url, got=arrived, expected=digest)
        raise ToolMissingError(
            "a file cannot be written on the machine",
            where=f"{self.url}, {target}",
            got=reply.words or f"status {reply.status}",
            next_step="check its disk (df) and the folder's owner",
        )

    def get(self, source: str, target: Path, *, digest: str, most_bytes: int, timeout_s: float) -> None:
        """Fetches a file whose digest there is known.

        Raises:
            LinkLostError: as ``run``; also where what arrived is not what was sent.
            ToolMissingError: it is not there, or longer than ``most_bytes``.
        """
        with target.open("wb") as sink:
            _, words = self._exchange(f"cat {shlex.quote(source)}", timeout_s, None, (sink, most_bytes))
        arrived = sha256_file(target)
        if arrived != digest:
            target.unlink()
            got = f"{arrived} ({words})" if words else arrived
            raise LinkLostError("a file did not arrive as it was sent", where=self.url, got=got, expected=digest)

    def drop(self) -> None:
        """Ends the connection at once. The holder finds its input closed and nobody to talk to."""
        if self._holder is not None:
            self._holder.kill()

    def close(self) -> None:
        """Tells the holder to end, waits for it a little, and ends the connection. Safe to call twice."""
        holder, self._holder = self._holder, None
        if holder is None:
            return
        with suppress(OSError, ValueError):
            if holder.stdin is not None:
                holder.stdin.close()
        try:
            holder.wait(_END_S)
        except subprocess.TimeoutExpired:
            holder.kill()
            holder.wait()
        if holder.stdout is not None:
            holder.stdout.close()
        self._socket.unlink(missing_ok=True)

    def _exchange(
        self, script: str, timeout_s: float, source: Path | None, sink: tuple[IO[bytes], int] | None
    ) -> tuple[bytes, str]:
        """Standard output (empty where it went into the sink) and the end of standard error."""
        if self._holder is None or self._holder.poll() is not None:
            raise self._gone("the connection was lost")
        # A client that finds no connection to share would make one of its own, past the holder: its proxy is no one.
        command = [*self._common, "-o", "ControlMaster=no", "-o", "ProxyCommand=false", "--", self._address.host]
        deadline = time.monotonic() + timeout_s
        with (
            (source or Path(os.devnull)).open("rb") as given,
            subprocess.Popen(
                [*command, f"exec sh -c {shlex.quote(script)}"],
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            ) as process,
        ):
            try:
                kept, words = self._drain(process, deadline, sink)
                status = process.wait(max(0.1, deadline - time.monotonic()))
            except (subprocess.TimeoutExpired, _SilentError) as error:
                self.close()
                raise ToolMissingError(
                    f"a command did not end within {timeout_s:g} s",
                    where=self.url,
                    next_step="look what keeps the machine busy, or give it less: fewer samples, a smaller model",
                ) from error
            finally:
                process.kill()
        if status == _LOST:
            raise self._gone("the connection was lost during a command", words)
        return kept, words

    def _drain(
        self, process: subprocess.Popen[bytes], deadline: float, sink: tuple[IO[bytes], int] | None
    ) -> tuple[bytes, str]:
        assert process.stdout is not None
        assert process.stderr is not None
        kept, words, taken = bytearray(), bytearray(), 0
        most = sink[1] if sink else _TEXT_BYTES
        with selectors.DefaultSelector() as both:
            for stream in (process.stdout, process.stderr):
                both.register(stream, selectors.EVENT_READ)
            while both.get_map():
                ready = both.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise _SilentError
                for key, _ in ready:
                    chunk = os.read(key.fd, _CHUNK)
                    if not chunk:
                        both.unregister(key.fileobj)
                    elif key.fileobj is process.stderr:
                        words = (words + chunk)[-_LAST_WORDS:]
                    else:
                        taken += len(chunk)
                        if taken > most:
                            raise ToolMissingError(
                                "the machine sends more than was asked for", where=self.url, expected=f"{most} bytes"
                            )
                        (sink[0].write if sink else kept.extend)(chunk)
        return bytes(kept), words.decode("utf-8", "replace").strip()

    def _gone(self, what: str, words: str = "") -> ToolMissingError:
        """The error, with the client's last words, and what to do about them. Ends the connection."""
        self.drop()
        self.close()
        try:
            with self._said.open("rb") as stream:
                words = words or stream.read(_TEXT_BYTES).decode("utf-8", "replace").strip()[-_LAST_WORDS:]
        except OSError:
            pass  # it never came so far as to say something
        for saying, remedy in _HOPELESS.items():
            if saying in words:
                return ToolMissingError(what, where=self.url, got=words, next_step=remedy)
        return LinkLostError(what, where=self.url, got=words or None, next_step=_UNREACHED)


class _SilentError(Exception):
    """Nothing came until the deadline."""


def _read(stream: IO[bytes], deadline: float) -> bytes | None:
    """What has arrived; empty at the end, None where nothing came until the deadline."""
    with selectors.DefaultSelector() as one:
        one.register(stream, selectors.EVENT_READ)
        if not one.select(max(0.0, deadline - time.monotonic())):
            return None
    return os.read(stream.fileno(), _CHUNK)
