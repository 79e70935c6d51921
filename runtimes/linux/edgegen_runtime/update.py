"""Two slots for a model: the update goes into the one that is not in use, and has to prove itself before it is.

A folder holds ``slots/a`` and ``slots/b``, each the layout of a bundle, and the two copies of the state. The slot in
use is never written to. A slot is named in the state only after every byte of it is on the disk and was read back.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from edgegen_runtime.admission import Rules, admit
from edgegen_runtime.disk import Disk
from edgegen_runtime.errors import InputsError, ModelRefusedError, RuntimeMissingError
from edgegen_runtime.kept import FIRST_TRIES, SLOTS, SlotState, read_slot_state, write_slot_state
from edgegen_runtime.sealed_bundle import (
    CORE_TYPE,
    LAYOUT,
    MAX_DOCUMENT_BYTES,
    SIGNATURE_TYPE,
    Bundle,
    Named,
    named,
    read_bundle,
    read_index,
    read_manifest,
    typed,
)
from edgegen_runtime.slot_filling import bring, clear, present_bytes
from edgegen_runtime.sources import Source, chunks, document
from edgegen_runtime.strict import RefusedError, strict_json
from edgegen_runtime.version_order import version_order

_SPARE_BYTES = 1 << 20
_FAILURES = (RefusedError, ModelRefusedError, InputsError, RuntimeMissingError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Booted:
    """The model that the device runs."""

    slot: str
    bundle: Bundle
    notes: tuple[str, ...]  # what was passed over on the way, and why


class Slots:
    """The two slots in a folder.

    Args:
        rules: whom and what this device trusts.
        prove: runs the golden vectors of a bundle; raises one of the errors of ``self_test``.
    """

    def __init__(self, root: Path, rules: Rules, prove: Callable[[Bundle], object], disk: Disk | None = None) -> None:
        self._root = root
        self._rules = rules
        self._prove = prove
        self._disk = disk or Disk()

    def install(self, source: Source, now: datetime | None, timeout_s: float) -> Bundle:
        """Brings a bundle into the slot that is not in use; it is the device's model after the next ``boot``.

        One that runs already is checked where it is, and nothing is written.

        Args:
            now: None where there is no clock to be trusted.

        Raises:
            RefusedError: the bundle is damaged, not for this device, not trusted, or failed here before.
            ModelRefusedError, InputsError, RuntimeMissingError: see ``self_test``.
            UnreachableError: the source stops.
            OSError: the disk is full, too small or not writable. In every case the model that runs goes on.
        """
        deadline = time.monotonic() + timeout_s
        with self._alone():
            state = read_slot_state(self._root)
            index, blobs = _listing(source, deadline)  # before anything is given up: the source may not be there
            running = self._known(state, index)
            state = self._without_pending(state)
            if running is not None:
                bundle = read_bundle(self._slot(running))
                admit(bundle, self._rules, state.minimum_version, now)
                return bundle
            state, slot = self._freed(state)
            self._fill(slot, index, blobs, source, deadline)
            bundle = read_bundle(self._slot(slot))
            admit(bundle, self._rules, state.minimum_version, now)
            self._prove(bundle)
            self._keep(replace(state, pending=slot, tries=FIRST_TRIES))
            return bundle

    def boot(self) -> Booted:
        """Chooses the model to run: one that waits proves itself now or is passed over; else the last good one.

        Raises:
            RefusedError: there is no slot that holds.
            OSError: the disk is not writable.
        """
        with self._alone():
            state, notes = read_slot_state(self._root), list[str]()
            if state.pending is not None:
                state, bundle = self._first_boot(state, notes)
                if bundle is not None:
                    assert state.active is not None
                    return Booted(slot=state.active, bundle=bundle, notes=tuple(notes))
            for slot in sorted(SLOTS, key=lambda name: name != state.active):
                digest = state.confirmed.get(slot)
                if digest is None:
                    continue
                try:
                    bundle = self._proven(slot, None)
                    if bundle.digest != digest:
                        raise RefusedError(f"another bundle lies there: {bundle.digest}")
                except _FAILURES as error:
                    notes.append(f"slot {slot}: {error}")
                    continue
                if slot != state.active:
                    self._keep(replace(state, active=slot))
                return Booted(slot=slot, bundle=bundle, notes=tuple(notes))
            raise RefusedError("; ".join(["there is no model to run", *notes]))

    def state(self) -> SlotState:
        """What the device remembers. Raises RefusedError."""
        return read_slot_state(self._root)

    # -- the first boot ------------------------------------------------------------------------------------------------

    def _first_boot(self, state: SlotState, notes: list[str]) -> tuple[SlotState, Bundle | None]:
        slot = state.pending
        assert slot is not None
        try:
            if state.tries < 1:
                raise RefusedError("the device did not come up with it")
            # Counted before it is tried: a model that hangs or resets the device comes to its end.
            state = self._keep(replace(state, tries=state.tries - 1))
            bundle = self._proven(slot, state.minimum_version)
        except _FAILURES as error:
            notes.append(f"slot {slot}: {error}")
            failed = _digest_at(self._slot(slot))
            return self._keep(replace(state, pending=None, tries=0, failed=failed, failed_why=str(error)[:500])), None
        newest = state.minimum_version
        if newest is None or version_order(newest) < version_order(bundle.version):
            newest = bundle.version
        confirmed = {**state.confirmed, slot: bundle.digest}
        done = replace(state, active=slot, pending=None, tries=0, confirmed=confirmed, minimum_version=newest)
        return self._keep(done), bundle

    def _proven(self, slot: str, minimum_version: str | None) -> Bundle:
        """The bundle in a slot after bytes, signature and golden vectors held. When it was signed was judged before."""
        try:
            bundle = read_bundle(self._slot(slot))
            admit(bundle, self._rules, minimum_version, None)
            self._prove(bundle)
        except OSError as error:  # flash that cannot be read any more
            raise RefusedError(f"it cannot be read: {error}") from error
        return bundle

    # -- writing -------------------------------------------------------------------------------------------------------

    def _fill(self, slot: str, index: bytes, blobs: Mapping[str, Named], source: Source, deadline: float) -> None:
        """Has the slot hold exactly this layout, on the disk; what an install that was cut left there is used."""
        disk, place = self._disk, self._slot(slot)
        clear(disk, place, blobs.values())
        needed = sum(item.size_bytes for item in blobs.values())
        if needed - present_bytes(place) + _SPARE_BYTES > shutil.disk_usage(place.parent).free:
            raise OSError(errno.ENOSPC, f"the bundle does not fit: it has {needed} bytes")
        folders = [place, place / "blobs", place / "blobs" / "sha256"]
        for folder in folders:
            if not folder.is_dir():
                disk.make_folder(folder)
        for name, item in sorted(blobs.items()):
            bring(disk, folders[-1], item, source, name, deadline)
        self._write(place / "oci-layout", [json.dumps(LAYOUT).encode()])
        self._write(place / "index.json", [index])
        for folder in (*reversed(folders), place.parent):
            disk.sync_folder(folder)

    def _write(self, path: Path, data: Any) -> None:
        self._disk.create(path, data)
        self._disk.sync_file(path)

    def _keep(self, state: SlotState) -> SlotState:
        state = replace(state, sequence=state.sequence + 1)
        write_slot_state(self._disk, self._root, state)
        return state

    def _without_pending(self, state: SlotState) -> SlotState:
        """Whatever waits is given up before its slot is written to."""
        return state if state.pending is None else self._keep(replace(state, pending=None, tries=0))

    def _freed(self, state: SlotState) -> tuple[SlotState, str]:
        """The slot that is not in use, which is not counted on from now on."""
        slot = next(name for name in SLOTS if name != state.active)
        if slot in state.confirmed:
            kept = {name: digest for name, digest in state.confirmed.items() if name != slot}
            state = self._keep(replace(state, confirmed=kept))
        return state, slot

    def _known(self, state: SlotState, index: bytes) -> str | None:
        """The slot that the bundle runs in already. Raises RefusedError: it was tried here, and failed."""
        digest = _core_digest(index)
        if digest == state.failed:
            raise RefusedError(f"this bundle was tried here and failed: {state.failed_why}")
        return state.active if state.active is not None and digest == state.confirmed.get(state.active) else None

    def _slot(self, slot: str) -> Path:
        return self._root / "slots" / slot

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One updater at a time: a lock on the folder itself, which leaves no file behind."""
        self._root.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not (self._root / "slots").is_dir():
                self._disk.make_folder(self._root / "slots")
                self._disk.sync_folder(self._root)
            yield
        finally:
            os.close(handle)


def _listing(source: Source, deadline: float) -> tuple[bytes, dict[str, Named]]:
    """The index that a device needs, core and signatures alone, and the blobs that it names, by their name."""
    if strict_json(document(source, "oci-layout", MAX_DOCUMENT_BYTES, deadline), "oci-layout") != LAYOUT:
        raise RefusedError("the layout's version is not known")

    def fetch(item: Named) -> bytes:
        return b"".join(chunks(source, _name(item), item, deadline))

    entries = [
        typed(entry, fetch) for entry in read_index(document(source, "index.json", MAX_DOCUMENT_BYTES, deadline))
    ]
    entries = [entry for entry in entries if entry.get("artifactType") in (CORE_TYPE, SIGNATURE_TYPE)]
    blobs: dict[str, Named] = {}
    for entry in entries:
        item = named(entry, "a manifest")
        if item.size_bytes > MAX_DOCUMENT_BYTES:
            raise RefusedError("a manifest is larger than it may be")
        manifest, files = read_manifest(fetch(item), f"manifest sha256:{item.sha256}")
        config = manifest.get("config")
        if not isinstance(config, dict):
            raise RefusedError("a manifest has no config")
        for part in (item, named(config, "the config"), *files.values()):
            blobs[_name(part)] = part
    return json.dumps({"schemaVersion": 2, "manifests": entries}, sort_keys=True).encode(), blobs


def _name(item: Named) -> str:
    return f"blobs/sha256/{item.sha256}"


def _core_digest(index: bytes) -> str | None:
    return next((e.get("digest") for e in read_index(index) if e.get("artifactType") == CORE_TYPE), None)


def _digest_at(place: Path) -> str | None:
    """What a slot says it holds, where it cannot be read as a whole."""
    try:
        return _core_digest((place / "index.json").read_bytes())
    except (OSError, RefusedError):
        return None
