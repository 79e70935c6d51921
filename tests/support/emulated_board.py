"""A whole emulated board for tests: Debian's arm64 kernel, busybox and dropbear under qemu-system-aarch64.

Nothing needs root. The board is a RAM disk: what was on it is gone when its plug is pulled.
"""

from __future__ import annotations

import contextlib
import gzip
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.digests import sha256_bytes, sha256_json
from edgegen.core.ports import Silent
from edgegen.devices.qemu_user import debs
from edgegen.devices.qemu_user.toolbox import Toolbox

_PACKAGES = ("linux-image-cloud-arm64", "busybox-static", "dropbear-bin")
# In the order in which they are loaded.
_MODULES = (
    *("virtio", "virtio_ring", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci"),
    *("failover", "net_failover", "virtio_net"),
)
_LIBRARIES = ("libc", "libcrypt", "libtomcrypt", "libtommath", "libgmp", "libz", "ld-linux-aarch64")
_KEEP = re.compile(
    r"boot/vmlinuz-|(usr/)?bin/busybox$|usr/sbin/dropbear$|usr/bin/dropbearkey$"
    rf"|lib/modules/.*/({'|'.join(_MODULES)})\.ko$|(usr/)?lib/(aarch64-linux-gnu/)?({'|'.join(_LIBRARIES)})[.-][^/]*$"
)
_QEMU_KEEP = re.compile(
    r"usr/bin/qemu-system-aarch64$|(usr/)?lib/x86_64-linux-gnu/[^/]*\.so[^/]*$|usr/share/qemu/.*|usr/share/seabios/.*"
)
_QEMU_SKIP = re.compile(r"libc6|libgcc-s1|gcc-\d+-base")
_BOOT_S = 120.0
_INIT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in {modules}; do insmod /modules/$module.ko; done
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
chmod 1777 /tmp
chown -R 1000:1000 /home/pi
chmod -R go-w /home/pi
dropbear -s -E -R -p 22
echo BOARD IS READY > /dev/console
while :; do sleep 1000; done
"""


@dataclass
class Board:
    """The emulated board."""

    folder: Path  # image, kernel, keys, log
    qemu: tuple[str, Mapping[str, str]]  # program and environment
    cpu: str
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ssh://pi@127.0.0.1:{self.port}"

    @property
    def config(self) -> Path:
        return self.folder / "ssh_config"

    def start(self) -> None:
        """Starts it and waits until it answers."""
        self.port = self.port or _free_port()
        self.config.write_text(
            f"Host *\n  IdentityFile {self.folder / 'client'}\n  IdentitiesOnly yes\n"
            f"  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n"
        )
        program, environment = self.qemu
        command = [
            *(program, "-M", "virt", "-cpu", self.cpu, "-smp", "2", "-m", "1024", "-nographic", "-no-reboot"),
            *("-kernel", str(self.folder / "kernel"), "-initrd", str(self.folder / "image")),
            *("-append", "console=ttyAMA0 quiet"),
            *("-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{self.port}-:22,restrict=on"),
            *("-device", "virtio-net-pci,netdev=n,romfile="),  # its ROM is in a package that is only recommended
        ]
        log = self.folder / "log"
        with log.open("wb") as said:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=dict(environment) or None
            )
        deadline = time.monotonic() + _BOOT_S
        while b"BOARD IS READY" not in log.read_bytes():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"the board does not start: {log.read_bytes()[-600:]!r}")
            time.sleep(0.1)

    def pull_plug(self) -> None:
        """As if its power were cut."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextlib.contextmanager
def board(cache: Path, folder: Path, cpu: str = "cortex-a72") -> Iterator[Board]:
    """A running board.

    Args:
        cache: where its packages and image are kept between runs.
        folder: of this board alone.

    Raises:
        ToolMissingError: the packages cannot be fetched here.
    """
    toolbox = Toolbox(cache, offline=False, progress=Silent())
    toolbox.root.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True)
    key = folder / "client"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, stdin=subprocess.DEVNULL
    )
    parts = _ensure_parts(toolbox)
    (folder / "kernel").symlink_to(next((parts / "boot").glob("vmlinuz-*")))
    (folder / "image").write_bytes(gzip.compress(_image(parts, (folder / "client.pub").read_text()), 1))
    made = Board(folder=folder, qemu=_ensure_qemu(toolbox), cpu=cpu)
    made.start()
    try:
        yield made
    finally:
        made.pull_plug()


def _ensure_parts(toolbox: Toolbox) -> Path:
    def make(folder: Path) -> Mapping[str, str]:
        with debs.Apt(toolbox, debs.Foreign(architecture="arm64", suite="bookworm")) as apt:
            versions = apt.unpack(_PACKAGES, folder, skip=re.compile("(?!)"), keep=lambda path: bool(_KEEP.match(path)))
        return {name: versions.get(name, "") for name in _PACKAGES}

    return toolbox.ensure("test-board", sha256_json([_PACKAGES, _KEEP.pattern]), make).folder


def _ensure_qemu(toolbox: Toolbox) -> tuple[str, Mapping[str, str]]:
    import shutil

    program = shutil.which("qemu-system-aarch64")
    if program is not None:
        return program, {}

    def make(folder: Path) -> Mapping[str, str]:
        with debs.Apt(toolbox) as apt:
            apt.unpack(("qemu-system-arm",), folder, skip=_QEMU_SKIP, keep=lambda path: bool(_QEMU_KEEP.match(path)))
        return {}

    folder = toolbox.ensure("test-qemu-system", sha256_json([_QEMU_KEEP.pattern]), make).folder
    libraries = ":".join(str(folder / name) for name in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"))
    return str(folder / "usr" / "bin" / "qemu-system-aarch64"), {"LD_LIBRARY_PATH": libraries}


def _image(parts: Path, client_key: str) -> bytes:
    """The RAM disk: a cpio archive ("newc", as the kernel's Documentation/driver-api/early-userspace describes it)."""
    files: dict[str, tuple[int, bytes]] = {"bin/busybox": (0o755, next(parts.rglob("bin/busybox")).read_bytes())}
    files["sbin/dropbear"] = (0o755, next(parts.rglob("dropbear")).read_bytes())
    for name in _MODULES:
        files[f"modules/{name}.ko"] = (0o644, next(parts.rglob(f"{name}.ko")).read_bytes())
    for path in parts.rglob("*.so*"):
        files[f"lib/{path.name}"] = (0o755, path.resolve().read_bytes())
    files |= {
        "init": (0o755, _INIT.format(modules=" ".join(_MODULES)).encode()),
        "etc/passwd": (0o644, b"root:*:0:0::/root:/bin/sh\npi:*:1000:1000::/home/pi:/bin/sh\n"),
        "etc/group": (0o644, b"root:*:0:\npi:*:1000:\n"),
        "etc/shells": (0o644, b"/bin/sh\n"),
        "home/pi/.ssh/authorized_keys": (0o600, client_key.encode()),
    }
    folders = {"dev", "proc", "sys", "tmp", "root", "etc/dropbear"}
    for name in files:
        folders |= {str(parent) for parent in Path(name).parents if str(parent) != "."}
    entries = [_entry(name, 0o040755, b"") for name in sorted(folders)]
    entries += [_entry(name, 0o100000 | mode, data) for name, (mode, data) in files.items()]
    return b"".join([*entries, _entry("TRAILER!!!", 0, b"")])


def _entry(name: str, mode: int, data: bytes) -> bytes:
    inode = int(sha256_bytes(name.encode())[:7], 16)
    fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])
