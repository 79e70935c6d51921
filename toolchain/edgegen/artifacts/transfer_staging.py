"""Where a pull puts what arrives: aside, under the digest, and in its place only when all of it was found right.

``OUT/.edgegen-pull/`` holds finished blobs and, as ``<hex>.part``, those on their way; a killed pull leaves it behind
and the next one goes on from it. Nothing in there is trusted: links are refused and bytes are hashed again.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from edgegen.artifacts.layout import BUNDLE_DIR, FILES_DIR
from edgegen.artifacts.sealed import digest_of
from edgegen.artifacts.transfer import Descriptor
from edgegen.core.errors import IntegrityError, StorageError, UsageError
from edgegen.core.store import unwritable

ASIDE = ".edgegen-pull"
_CHUNK_BYTES = 1 << 20
_INSTEAD = "name another folder"
_SPARE_BYTES = 16 << 20  # manifests, folders, and what a file system takes for itself


class Staging:
    """The folder beside. See ``staged``."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.root = out / ASIDE
        self.bundle = self.root / BUNDLE_DIR
        self.blobs = self.bundle / "blobs" / "sha256"

    def open(self) -> None:
        """Makes the folders; refuses links among them."""
        for folder in (self.root, self.bundle, self.bundle / "blobs", self.blobs):
            _make_folder(folder)

    def path(self, blob: Descriptor) -> Path:
        """Where a blob stands once it is whole."""
        return self.blobs / blob.hex

    def has(self, blob: Descriptor) -> bool:
        """Whether the blob is there, whole; one that is not what its name says is removed."""
        path = self.path(blob)
        if not os.path.lexists(path):
            return False
        if path.is_symlink() or not path.is_file():
            raise IntegrityError("something else stands where a file is to be", where=str(path), expected="no link")
        if digest_of(path) == (blob.hex, blob.size_bytes):
            return True
        path.unlink()
        return False

    def adopt(self, blob: Descriptor, earlier: Path) -> bool:
        """Takes a blob from a bundle that is there already; False if it has none such."""
        path = earlier / "blobs" / "sha256" / blob.hex
        if path.is_symlink() or not path.is_file() or path.stat().st_size != blob.size_bytes:
            return False
        with self.part(blob) as part:
            shutil.copyfile(path, part.path)
            part.reload()
            return part.finish()

    def put(self, name: str, data: bytes) -> None:
        """Writes a small file of the bundle, whole or not at all."""
        target = self.bundle / name
        temporary = target.with_name(f"{target.name}.new")
        with open(_create(temporary), "wb") as sink:
            sink.truncate(0)
            sink.write(data)
            sink.flush()
            os.fsync(sink.fileno())
        os.replace(temporary, target)

    @contextmanager
    def part(self, blob: Descriptor) -> Iterator[Part]:
        """The blob's file while it is on its way, with what an earlier run left of it."""
        path = self.blobs / f"{blob.hex}.part"
        with FileIO(_create(path), "r+b") as stream, ThreadPoolExecutor(1) as worker:
            yield Part(stream, path, self.path(blob), blob, worker)

    def check_room(self, needed: int) -> None:
        """Raises StorageError if that many bytes do not fit on the disk."""
        free = shutil.disk_usage(self.root).free
        if needed + _SPARE_BYTES > free:
            raise StorageError(
                "there is not enough room on the disk",
                where=str(self.out),
                got=f"{free} bytes free",
                expected=f"{needed + _SPARE_BYTES} bytes",
                next_step="free some space or name another folder with --out",
            )

    def keep_only(self, hexes: set[str]) -> None:
        """Removes blobs that the bundle does not name."""
        for path in self.blobs.iterdir():
            if path.name not in hexes:
                path.unlink()

    def place(self, titles: dict[str, Descriptor]) -> None:
        """Writes ``files/`` and puts it and the bundle in their places, the bundle last."""
        files = self.root / FILES_DIR
        if os.path.lexists(files):
            shutil.rmtree(files)
        files.mkdir()
        for title, blob in titles.items():
            # The same file under a second name: no second write of what may be a gigabyte, and nothing to sync.
            _second_name(self.path(blob), files / title)
        for folder in (self.blobs, self.bundle / "blobs", self.bundle, files):
            folder.chmod(0o755)
            _sync(folder)
        for path in (*self.blobs.iterdir(), self.bundle / "index.json", self.bundle / "oci-layout"):
            path.chmod(0o644)
        old = self.root / "old"
        if os.path.lexists(old):
            shutil.rmtree(old)
        old.mkdir()
        # The bundle goes first and comes last: where it stands, everything stands.
        for name in (BUNDLE_DIR, FILES_DIR):
            if os.path.lexists(self.out / name):
                os.replace(self.out / name, old / name)
        os.replace(files, self.out / FILES_DIR)
        os.replace(self.bundle, self.out / BUNDLE_DIR)
        _sync(self.out)

    def remove(self) -> None:
        """Forgets everything that is aside."""
        shutil.rmtree(self.root)


class Part:
    """A blob on its way: what has arrived, and its hash. Hashing and writing go on while the next piece arrives."""

    def __init__(self, stream: FileIO, path: Path, target: Path, blob: Descriptor, worker: ThreadPoolExecutor) -> None:
        self._stream = stream
        self.path = path
        self._target = target
        self._blob = blob
        self._worker = worker
        self._pending: Future[None] | None = None
        self._hash = hashlib.sha256()
        self._size = 0
        self.reload()

    @property
    def size_bytes(self) -> int:
        """How much is in the file and hashed. Raises StorageError: the last piece could not be written."""
        self._settle()
        return self._size

    def reload(self) -> None:
        """Hashes what the file holds; one that is longer than the blob begins anew."""
        self._settle()
        self._stream.seek(0)
        self._hash, self._size = hashlib.sha256(), 0
        if os.fstat(self._stream.fileno()).st_size > self._blob.size_bytes:
            self.begin()
        while chunk := self._stream.read(_CHUNK_BYTES):
            self._hash.update(chunk)
            self._size += len(chunk)

    def begin(self) -> None:
        """Forgets what has arrived."""
        self._settle()
        self._stream.seek(0)
        self._stream.truncate(0)
        self._hash, self._size = hashlib.sha256(), 0

    def add(self, chunk: bytes | memoryview) -> None:
        """Appends what arrived, which must not change before the next call.

        Raises:
            StorageError: the disk is full (of this piece or the last); what was there stays.
        """
        self._settle()
        self._pending = self._worker.submit(self._write, memoryview(chunk))

    def finish(self) -> bool:
        """Gives the blob its final name if it is whole and what its digest says; otherwise forgets what has arrived."""
        if self.size_bytes != self._blob.size_bytes or self._hash.hexdigest() != self._blob.hex:
            self.begin()
            return False
        try:
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise unwritable(self.path.parent, error, _INSTEAD) from error
        os.replace(self.path, self._target)
        return True

    def _write(self, view: memoryview) -> None:
        try:
            while view:
                # What was written and what was hashed must agree whenever this ends.
                written = self._stream.write(view)
                self._hash.update(view[:written])
                self._size += written
                view = view[written:]
        except OSError as error:
            raise unwritable(self.path.parent, error, _INSTEAD) from error

    def _settle(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()


@contextmanager
def staged(out: Path) -> Iterator[Staging]:
    """A place beside ``out``'s bundle, one pull at a time; it stays when the block ends with an error.

    Raises:
        IntegrityError: a link or something else stands where a folder is to be.
        UsageError: ``out`` holds a folder ``files`` that no bundle stands beside: it would be replaced.
        StorageError: the folder cannot be written, or the disk is full.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _alone(out):
            _check_free(out)
            staging = Staging(out)
            staging.open()
            yield staging
            staging.remove()
    except OSError as error:
        raise unwritable(out, error, _INSTEAD) from error


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """A lock on the folder itself, which leaves no file behind; signing takes the same."""
    handle = os.open(out, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _check_free(out: Path) -> None:
    """Refuses to replace what no pull or build has written."""
    for name in (BUNDLE_DIR, FILES_DIR, ASIDE):
        _refuse_strange(out / name)
    whole = (out / BUNDLE_DIR / "oci-layout").is_file()
    # A pull that was killed while it put things in their places leaves files/ alone, and what it had aside.
    ours = whole or (out / ASIDE).exists()
    for name in (BUNDLE_DIR, FILES_DIR):
        if (out / name).exists() and not (whole if name == BUNDLE_DIR else ours):
            raise UsageError(
                "the folder holds what no pull has written, and a pull would replace",
                where=str(out / name),
                next_step="name another folder with --out, or remove it",
            )


def _make_folder(path: Path) -> None:
    _refuse_strange(path)
    path.mkdir(exist_ok=True)


def _refuse_strange(path: Path) -> None:
    if os.path.lexists(path) and not stat.S_ISDIR(path.lstat().st_mode):
        raise IntegrityError("something else stands where a folder is to be", where=str(path), expected="no link")


def _create(path: Path) -> int:
    """A handle to a regular file, made if absent. Raises IntegrityError if a link or something else is there."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if path.is_symlink() or (os.path.lexists(path) and not path.is_file()):
            raise IntegrityError("something else stands where a file is to be", where=str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise IntegrityError("something else stands where a file is to be", where=str(path))
    return handle


def _second_name(path: Path, name: Path) -> None:
    try:
        os.link(path, name)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        # A file system without second names.
        shutil.copyfile(path, name)
        _sync(name)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
