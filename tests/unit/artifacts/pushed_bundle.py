"""A small bundle, pushed to and pulled from the registry of this process, with patience of milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from example_bundle import contents, evidence

from edgegen.artifacts.bundle import writing_bundle
from edgegen.artifacts.registry_http import Trust
from edgegen.artifacts.registry_patience import Patience
from edgegen.artifacts.registry_reference import parse_reference
from edgegen.artifacts.sealed import digest_of
from edgegen.artifacts.transfer_places import Access, destination_of, source_of
from edgegen.artifacts.transfer_pull import Pulled, pull
from edgegen.artifacts.transfer_push import Pushed, push
from edgegen.artifacts.verify import verify
from edgegen.core.ports import Silent

QUICK = Patience(
    connect_s=5,
    commit_s=5,
    answer_s=1,
    window_s=0.3,
    min_bytes_per_s=2000,
    attempts=3,
    first_pause_s=0.01,
    longest_pause_s=0.05,
    settle_s=(0.001, 0.01),
)
ACCESS = Access(trust=Trust(plain_http=True), patience=QUICK)


def bundle(out: Path, model: bytes | None = None, **changes: Any) -> str:
    """A bundle in ``out/bundle`` with evidence and provenance; returns its digest."""
    with writing_bundle(out) as writer:
        whole = contents(out.with_name(f"{out.name}-work"), **changes)
        if model is not None:
            whole.model.write_bytes(model)
        written = writer.add_core(whole)
        writer.add_training({}, {"schema_version": 1, "steps": {}})
        writer.add_evidence(evidence(written.digest))
    return written.digest


def push_to(text: str, *outs: Path, access: Access = ACCESS, add: bool = False) -> Pushed:
    reference = parse_reference(text)
    folders = [out / "bundle" for out in outs]
    with destination_of(reference, access) as destination:
        if not add:
            return push(folders, destination, reference.tag, progress=Silent())
        with source_of(reference, access) as earlier:
            return push(folders, destination, reference.tag, progress=Silent(), earlier=earlier)


def pull_from(text: str, out: Path, *, target: str | None = None, access: Access = ACCESS, **more: Any) -> Pulled:
    reference = parse_reference(text)
    with source_of(reference, access) as source:
        return pull(source, reference.wanted, out, target=target, progress=Silent(), patience=access.patience, **more)


def assert_whole(out: Path, digest: str) -> None:
    """Whatever stands under a final name is whole."""
    if (out / "bundle").exists():
        assert verify(out / "bundle").digest == digest
    aside = out / ".edgegen-pull" / "bundle" / "blobs" / "sha256"
    for path in aside.iterdir() if aside.is_dir() else ():
        if len(path.name) == 64:
            assert digest_of(path)[0] == path.name
