"""Stages: resumable, atomic, keyed by everything that can change what they give.

The key of a stage is the sha256 of its inputs' digests, its settings and the versions of the tools it calls. A stage
whose key is in the store does not run. One that runs works in a temporary folder; only when it is whole do its files
enter the store, so a killed build loses nothing that was finished and leaves nothing half-written.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgegen.core.digests import canonical_json, sha256_json
from edgegen.core.errors import EdgegenError
from edgegen.core.locks import locked
from edgegen.core.ports import Progress
from edgegen.core.store import Blob, Store, disk_is_full, full_disk

_RECORD = "record.json"
_STAGE_TYPE = "application/vnd.edgegen.stage.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One unit of work, described by what goes in."""

    name: str  # what a person reads, e.g. "train" or "measure static-int8@onnx"
    version: int  # raised whenever the stage's own code changes what it gives
    inputs: Mapping[str, str] = field(default_factory=dict)  # role -> digest
    settings: Any = None  # JSON-ready
    tools: Mapping[str, str] = field(default_factory=dict)  # library or program -> version
    quiet: bool = False  # too short to be worth a line while it runs; not part of the key

    @property
    def key(self) -> str:
        """Hex sha256 of everything that can change the result."""
        return sha256_json(
            {
                "stage": self.name,
                "version": self.version,
                "inputs": dict(self.inputs),
                "settings": self.settings,
                "tools": dict(self.tools),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a stage gave: a small record and files by name, all in the store."""

    name: str
    key: str
    record: Mapping[str, Any]
    files: Mapping[str, Blob]
    seconds: float
    cached: bool

    @property
    def digest(self) -> str:
        """Digest of the result alone (not of how it came about): equal results let later stages be found again."""
        return sha256_json({"record": self.record, "files": {name: blob.sha256 for name, blob in self.files.items()}})


class Stages:
    """Runs stages against a store and remembers, in order, what they took."""

    def __init__(self, store: Store, progress: Progress) -> None:
        self._store = store
        self._progress = progress
        self._known: dict[str, Finished] = {}

    def run(
        self,
        stage: Stage,
        work: Callable[[Path], Mapping[str, Any]],
        *,
        lasting: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> Finished:
        """The stage's result, from the store if it is there, else by calling ``work`` in an empty folder.

        ``work`` writes its files into the folder it is given and returns a JSON-ready record. Two processes that want
        the same stage share one run: the second waits for the first.

        Args:
            lasting: whether a record is one that later builds may find; None: every one is. One that is not holds for
                this object alone.
        """
        if stage.key in self._known:
            return self._known[stage.key]
        done = self._find(stage)
        if done is None:
            with locked(
                self._store.root / "locks" / stage.key,
                on_wait=lambda: self._progress.say(f"{stage.name}: waiting for another build that is doing the same"),
            ):
                done = self._find(stage) or self._perform(stage, work, lasting)
        return self._known.setdefault(stage.key, done)

    def find(self, stage: Stage) -> Finished | None:
        """The stage's result if it is there; nothing runs."""
        return self._known.get(stage.key) or self._find(stage)

    @property
    def finished(self) -> list[Finished]:
        """Every stage that was asked for, in the order in which it came to be known."""
        return list(self._known.values())

    def _perform(
        self,
        stage: Stage,
        work: Callable[[Path], Mapping[str, Any]],
        lasting: Callable[[Mapping[str, Any]], bool] | None,
    ) -> Finished:
        if not stage.quiet:
            self._progress.say(stage.name)
        started = time.monotonic()
        with tempfile.TemporaryDirectory(dir=self._store.scratch, prefix="stage-") as name:
            folder = Path(name)
            record = json.loads(canonical_json(dict(self._worked(work, folder))))
            (folder / _RECORD).write_bytes(canonical_json(record))
            files = {
                path.relative_to(folder).as_posix(): self._store.add_file(path)
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }
        seconds = time.monotonic() - started
        if lasting is None or lasting(record):
            self._store.tag(
                self._store.add_manifest(
                    artifact_type=_STAGE_TYPE,
                    layers={name: (blob, "application/octet-stream") for name, blob in files.items()},
                    annotations={"dev.edgegen.stage": stage.name, "dev.edgegen.seconds": f"{seconds:.3f}"},
                ),
                f"stage-{stage.key}",
            )
        return self._result(stage, record, files, seconds, cached=False)

    @staticmethod
    def _worked(work: Callable[[Path], Mapping[str, Any]], folder: Path) -> Mapping[str, Any]:
        try:
            return work(folder)
        except Exception as error:
            # Libraries hide a full disk behind errors of their own: torch's writer says "unexpected pos".
            if not isinstance(error, EdgegenError) and disk_is_full(folder):
                raise full_disk(folder.parent, error) from error
            raise

    def _find(self, stage: Stage) -> Finished | None:
        manifest = self._store.find(f"stage-{stage.key}")
        if manifest is None:
            return None
        files = self._store.layers(manifest)
        if files is None or _RECORD not in files:
            return None
        seconds = float(manifest["annotations"]["dev.edgegen.seconds"])
        record = json.loads(self._store.read(files[_RECORD]))
        return self._result(stage, record, files, seconds, cached=True)

    @staticmethod
    def _result(
        stage: Stage, record: Mapping[str, Any], files: Mapping[str, Blob], seconds: float, *, cached: bool
    ) -> Finished:
        visible = {name: blob for name, blob in files.items() if name != _RECORD}
        return Finished(name=stage.name, key=stage.key, record=record, files=visible, seconds=seconds, cached=cached)
