"""A folder with bundles and their releases, and devices that pull from it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgegen.artifacts.layout import BUNDLE_TYPE, RELEASES_TYPE
from edgegen.artifacts.policy import Policy
from edgegen.artifacts.registry_reference import parse_reference
from edgegen.artifacts.release_artifact import METADATA_TYPE, RELEASES_TAG
from edgegen.artifacts.release_channels import recall
from edgegen.artifacts.release_place import Trusting
from edgegen.artifacts.release_publish import publish_into
from edgegen.artifacts.release_pull import Taken, take
from edgegen.artifacts.sign import sign_bundle
from edgegen.artifacts.statement import Moment
from edgegen.artifacts.transfer_places import Access, destination_of, source_of
from edgegen.artifacts.transfer_push import push
from edgegen.artifacts.verify import Verified, verify
from edgegen.core.ports import Silent
from edgegen.core.store import MANIFEST_TYPE, Store
from unit.artifacts.release_fleet import NOW, Fleet, made, trusted
from unit.artifacts.signed_bundle import signer

CALM = Access(patience=replace(Access().patience, settle_s=(0.0, 0.001)))


def _descriptor(digest: str, folder: Path) -> dict[str, Any]:
    size = (folder / "blobs" / digest.replace(":", "/")).stat().st_size
    return {"mediaType": MANIFEST_TYPE, "artifactType": BUNDLE_TYPE, "digest": digest, "size": size}


@dataclass
class Shop:
    """A folder with bundles and their releases, and devices that pull from it."""

    fleet: Fleet
    bundles: dict[str, Verified]
    root: Path
    packed: Path  # has the bundles in folders of their own, and all of them in shop/

    @property
    def place(self) -> str:
        return f"oci:{self.root}/shop"

    @property
    def folder(self) -> Path:
        return self.root / "shop"

    def publish(self, days: float = 0) -> None:
        publish_into(self.fleet.at(days), [signer("online")], parse_reference(self.place), CALM)

    def release(self, label: str, channel: str = "stable", family: str = "pi", key: str = "pi") -> None:
        self.fleet.add(label, channel, family, key)
        self.publish()

    def recall(self, label: str, **more: Any) -> None:
        recall(self.fleet.at(), "pi", self.bundles[label].digest, signer("pi"), **({"reason": "wrong scale"} | more))
        self.publish()

    def pull(
        self,
        target: str | None = "raspberrypi4",
        tag: str = ":stable",
        *,
        device: str = "device",
        trusts: bool = True,
        policy: Policy | None = None,
        **more: Any,
    ) -> Taken:
        reference = parse_reference(f"{self.place}{tag}")
        known = Trusting(state=self.root / device / "state", root=self.fleet.root if trusts else None)
        with source_of(reference, CALM) as source:
            return take(
                source, reference, self.root / device / "out", known, target=target, policy=policy, now=NOW,
                progress=Silent(), patience=CALM.patience, **more,
            )  # fmt: skip

    def got(self, device: str = "device") -> str:
        return verify(self.root / device / "out" / "bundle").manifest.version

    def bundles_at(self, label: str) -> Path:
        return self.packed / label / "bundle"

    def tag(self, label: str, name: str) -> None:
        """What anybody can do who may write to the place."""
        Store(self.folder).tag(_descriptor(self.bundles[label].digest, self.folder), name)

    def rewrite(self, change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> None:
        """Puts other files in the place of the releases' own, as anybody can who has no key."""
        store = Store(self.folder)
        manifest = store.find(RELEASES_TAG)
        assert manifest is not None
        layers = store.layers(manifest)
        assert layers is not None
        files = change({name: blob.path.read_bytes() for name, blob in layers.items()})
        blobs = {name: (store.add_bytes(data), METADATA_TYPE) for name, data in files.items()}
        store.tag(store.add_manifest(artifact_type=RELEASES_TYPE, layers=blobs), RELEASES_TAG)

    def keep(self) -> Path:
        return Path(shutil.copytree(self.folder, self.root / "kept"))

    def put_back(self, kept: Path) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(kept, self.folder)


def stocked(packed: Path) -> dict[str, Verified]:
    """Bundles in folders of their own and, all of them, in ``packed/shop``; by a label."""
    kinds: dict[str, dict[str, Any]] = {
        "1.0.0": {"version": "1.0.0"},
        "1.1.0": {"version": "1.1.0"},
        "five": {"version": "1.1.0", "target": "raspberrypi5"},
        "any": {"version": "1.2.0", "target": "generic-aarch64"},
        "null": {"version": "3.0.0", "target": "null"},
    }
    found = made(packed, **kinds)
    sign_bundle(packed / "1.1.0" / "bundle", [signer("vendor")], moment=Moment(signed_on=NOW))
    reference = parse_reference(f"oci:{packed}/shop")
    for label in kinds:
        with destination_of(reference, CALM) as destination:
            push([packed / label / "bundle"], destination, f"{label}-tag", progress=Silent())
    return found


def opened(place: Path, bundles: dict[str, Verified], packed: Path) -> Shop:
    """Version 1.0.0 is in the channel ``stable``."""
    fleet = Fleet(place, bundles)
    fleet.begin()
    fleet.at().delegate("any", [trusted("any")], ["generic-*"], signer("t"))
    found = Shop(fleet, bundles, place, packed)
    shutil.copytree(packed / "shop", found.folder)
    found.release("1.0.0")
    return found
