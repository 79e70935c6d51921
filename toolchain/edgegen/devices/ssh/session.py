"""A board held for one job: connected, locked, its kit in place; and models run there, whatever happens to the line.

Everything on the board lies in two folders of the user's under ``~/.cache/edgegen-board``: ``blobs``, files by their
digest that are kept between jobs within a bound, and ``runs/<job>``, which goes when the job goes (``guard.sh``).
"""

from __future__ import annotations

import re
import secrets
import shlex
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.digests import sha256_file
from edgegen.core.errors import ToolMissingError
from edgegen.core.ports import Progress
from edgegen.devices.board_lock import WAIT_S, BusyError, board_locked, holder
from edgegen.devices.board_state import STATE_SCRIPT, BoardState, parse_state
from edgegen.devices.qemu_user import guest
from edgegen.devices.run_folder import run_folder
from edgegen.devices.ssh.kit import RUNNER, Kit
from edgegen.devices.ssh.look import LOOK_SCRIPT, Look, parse_look
from edgegen.links.ssh import CONNECT_S, LinkLostError, SshAddress, SshLink

ROOM_KIB = 512 << 10
"""Bound of the files that are kept on a board, in KiB."""

INPUTS, OUTPUTS = "inputs.egt", "outputs.egt"
_BEAT_S, _BEATS = 5, 12  # a job that is silent for a minute is gone
_SLOWEST_BYTES_PER_S = 100_000  # of a line that is still usable
_MOST_LINES = 10_000  # before the board is ours
_TAKE_S = 60.0  # for a guard that first tidies up
_CHECK_S = 300.0  # for the digests of the whole kit
_WORTH_TELLING_BYTES = 1 << 22
_KEPT_MODELS = 2
_GUARD = Path(__file__).with_name("guard.sh")
_MOST_OUTPUT_BYTES = (1 << 31) + (1 << 16)
_WORDS_BYTES, _REPORT_BYTES = 4000, 500_000
_READY = re.compile(r"ready (/[\x20-\x7e]{1,1000})")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardJob:
    """One start of the runner on a board."""

    runtime: str
    model: Path
    inputs: Path  # tensor file
    runs: int  # 0: every sample once; else the first sample so many times
    outputs: Path  # the tensor file that is written here
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How the runner ended there."""

    status: int
    report: str  # its standard output, where it is short enough
    words: str  # the end of its standard error
    before: BoardState
    after: BoardState


class BoardSession:
    """A held board. Calls wait for each other: one model runs at a time."""

    def __init__(
        self,
        address: SshAddress,
        cache: Path,
        progress: Progress,
        *,
        config: Path | None = None,
        connect_s: float = CONNECT_S,
        wait_s: float = WAIT_S,
        room_kib: int = ROOM_KIB,
    ) -> None:
        self._address = address
        self._cache = cache
        self._progress = progress
        self._config = config
        self._connect_s = connect_s
        self._wait_s = wait_s
        self._room_kib = room_kib
        self._mutex = threading.RLock()
        self._held = ExitStack()
        self._link: SshLink | None = None
        self._folder = ""  # of the job, on the board
        self._placed: dict[str, str] = {}  # name in the job's folder -> digest of what lies there

    @property
    def url(self) -> str:
        """Where the board is."""
        return self._address.url

    def open(self, wait_s: float | None = None) -> None:
        """Connects and takes the board, if that is not done.

        Args:
            wait_s: how long to wait for another job to give it back; None: as the session was made.

        Raises:
            LinkLostError: it cannot be reached now.
            BusyError: another job holds it.
            ToolMissingError: it cannot be reached or used at all.
        """
        patience_s = self._wait_s if wait_s is None else wait_s
        with self._mutex:
            if self._link is not None:
                return
            with ExitStack() as taken:
                taken.enter_context(board_locked(self._cache, self.url, self._progress, wait_s=patience_s))
                folder = taken.enter_context(run_folder())
                link = SshLink(self._address, folder, connect_s=self._connect_s, config=self._config)
                taken.callback(link.close)
                self._folder = self._taken(link, patience_s)
                self._placed = {}
                taken.enter_context(_beating(link))
                self._link = link
                self._held = taken.pop_all()

    def close(self) -> None:
        """Gives the board back. Safe to call twice."""
        with self._mutex:
            self._link = None
            self._held.close()
            self._held = ExitStack()

    def look(self) -> Look:
        """What the board says of itself. Raises as ``open`` does."""
        with self._mutex, self._closed_by_failure():
            return parse_look(self._opened().run(LOOK_SCRIPT).text)

    def infer(self, kit: Kit, job: BoardJob) -> Ran:
        """Runs a model there; its outputs are here, checked, where the status is 0.

        Raises:
            LinkLostError: the line or the board was lost, or it did not end in time; nothing of it is left there.
            ToolMissingError: the board cannot do it.
        """
        with self._mutex, self._closed_by_failure():
            return self._inferred(self._opened(), kit, job)

    # -- on the open link ----------------------------------------------------------------------------------------

    @contextmanager
    def _closed_by_failure(self) -> Iterator[None]:
        try:
            yield
        except ToolMissingError:
            self.close()  # ends whatever still runs there
            raise

    def _opened(self) -> SshLink:
        self.open()
        assert self._link is not None
        return self._link

    def _taken(self, link: SshLink, wait_s: float) -> str:
        """Starts the guard and waits until the board is ours; its folder for us."""
        settings = {
            "job": secrets.token_hex(8),
            "holder": holder(),
            "room_kib": str(self._room_kib),
            "beat_s": str(_BEAT_S),
            "beats": str(_BEATS),
        }
        lines = [f"{name}={shlex.quote(value)}" for name, value in settings.items()]
        link.open("\n".join([*lines, _GUARD.read_text(encoding="utf-8")]))
        waited, told = 0.0, ""
        for _ in range(_MOST_LINES):
            # The guard repeats itself every second while it waits.
            word, _, rest = (line := link.line(_TAKE_S)).partition(" ")
            if word == "lacks":
                raise ToolMissingError(
                    f"the board has no {rest[:40]!r}",
                    where=self.url,
                    next_step="install util-linux and coreutils there, or a busybox that has it",
                )
            if word == "refused":
                raise ToolMissingError("the board cannot be used", where=self.url, got=rest[:300])
            if word == "busy" and waited >= wait_s:
                link.drop()  # the guard does not listen while it waits
                raise BusyError(self.url, rest[:300])
            if word == "busy":
                waited += 1
                if rest != told:
                    told = rest
                    self._progress.say(f"{self.url}: waiting for {rest[:300]}")
            if found := _READY.fullmatch(line):
                return found[1]
            # Everything else is what a login shell says of itself.
        link.drop()
        raise ToolMissingError("the board talks and does not come to the point", where=self.url, got=line[:200])

    def _inferred(self, link: SshLink, kit: Kit, job: BoardJob) -> Ran:
        self._keep(link, kit, kit.of(job.runtime))
        model = self._place_model(link, job.model)
        self._place(link, job.inputs, INPUTS)
        command = [
            *(f"lib/{kit.loader}", "--inhibit-cache", "--library-path", "lib", f"lib/{RUNNER}"),
            *(job.runtime, f"lib/{kit.runtimes[job.runtime]}", model, INPUTS, OUTPUTS, str(job.runs)),
        ]
        mark = secrets.token_hex(8)
        script = f"""{STATE_SCRIPT}
cd {shlex.quote(self._folder)} && rm -f {OUTPUTS} report words || exit 97
edgegen_state
echo {mark}
ORT_DISABLE_TELEMETRY=1 {shlex.join(command)} > report 2> words < /dev/null
echo $?
echo {mark}
edgegen_state
echo {mark}
[ ! -f {OUTPUTS} ] || sha256sum < {OUTPUTS}
echo {mark}
tail -c {_WORDS_BYTES} words
echo {mark}
head -c {_REPORT_BYTES} report"""
        reply = link.run(script, timeout_s=job.timeout_s)
        parts = reply.text.split(f"{mark}\n")
        if reply.status == 97 or len(parts) != 6:
            raise LinkLostError("the board lost the job's folder", where=self.url, got=reply.words or None)
        before, status, after, digest, words, report = parts
        ran = Ran(
            status=int(status) if status.strip().isdecimal() else -1,
            report=report,
            words=words,
            before=parse_state(before),
            after=parse_state(after),
        )
        if ran.status == 0:
            self._fetch(link, digest.split()[:1], job)
        return ran

    def _fetch(self, link: SshLink, digest: list[str], job: BoardJob) -> None:
        if not digest or not re.fullmatch(r"[0-9a-f]{64}", digest[0]):
            raise ToolMissingError("the runner left no outputs on the board", where=self.url)
        link.get(
            f"{self._folder}/{OUTPUTS}",
            job.outputs,
            digest=digest[0],
            most_bytes=_MOST_OUTPUT_BYTES,
            timeout_s=job.timeout_s,
        )

    def _keep(self, link: SshLink, kit: Kit, files: Mapping[str, Path]) -> None:
        """The files of the kit in ``lib``: blobs, checked once a connection, and pushed where they are missing."""
        wanted = {name: kit.digests[name] for name in files if self._placed.get(f"lib/{name}") != kit.digests[name]}
        if not wanted:
            return
        absent = self._linked(link, wanted)
        for name in absent:
            size = files[name].stat().st_size
            if size >= _WORTH_TELLING_BYTES:
                self._progress.say(f"{self.url}: sending {name}, {size / 2**20:.1f} MiB")
            link.put(files[name], f"{self._folder}/{wanted[name]}", digest=wanted[name], timeout_s=_time_for(size))
        moved = " && ".join(f"chmod 0700 {wanted[name]} && mv {wanted[name]} ../../blobs/" for name in absent)
        if absent:
            done = link.run(f"cd {shlex.quote(self._folder)} && {moved}")
            if done.status != 0 or self._linked(link, {name: wanted[name] for name in absent}):
                raise ToolMissingError("the runtime cannot be kept on the board", where=self.url, got=done.words)
        self._placed |= {f"lib/{name}": digest for name, digest in wanted.items()}

    def _linked(self, link: SshLink, wanted: Mapping[str, str]) -> list[str]:
        """Links blobs that are what they should be into ``lib``; the names of the others."""
        lines = [f"cd {shlex.quote(self._folder)} && mkdir -p lib || exit 97"]
        for name, digest in wanted.items():
            blob, short = f"../../blobs/{digest}", shlex.quote(name)
            lines.append(f"""[ -f {blob} ] && set -- $(sha256sum < {blob}) && [ $1 = {digest} ] && touch {blob} &&
  ln -sf ../{blob} lib/{short} || {{ rm -f {blob}; echo {short}; }}""")
        reply = link.run("\n".join(lines), timeout_s=_CHECK_S)
        if reply.status == 97:
            raise LinkLostError("the board lost the job's folder", where=self.url, got=reply.words or None)
        return [name for name in reply.text.split("\n") if name in wanted]

    def _place_model(self, link: SshLink, path: Path) -> str:
        """Its name there. The last two stay: two builds that are compared run in turn."""
        # ONNX Runtime knows a file of its own format by the end of its name alone.
        name = f"model-{sha256_file(path)[:16]}{'.ort' if guest.is_ort_format(path) else ''}"
        self._place(link, path, name)
        self._placed[name] = self._placed.pop(name)  # the last one used
        for old in [known for known in self._placed if known.startswith("model-")][:-_KEPT_MODELS]:
            del self._placed[old]
            link.run(f"rm -f {shlex.quote(self._folder)}/{old}")
        return name

    def _place(self, link: SshLink, path: Path, name: str) -> None:
        """A file of this job alone."""
        digest = sha256_file(path)
        if self._placed.get(name) != digest:
            self._placed.pop(name, None)
            link.put(path, f"{self._folder}/{name}", digest=digest, timeout_s=_time_for(path.stat().st_size))
            self._placed[name] = digest


def _time_for(size: int) -> float:
    return 60.0 + size / _SLOWEST_BYTES_PER_S


@contextmanager
def _beating(link: SshLink) -> Iterator[None]:
    """Tells the guard every few seconds that the job lives."""
    done = threading.Event()

    def beat() -> None:
        number = 0
        while not done.wait(_BEAT_S) and link.say(str(number)):
            number += 1

    thread = threading.Thread(target=beat, name=f"beat {link.url}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
