"""A repository of releases, and a device that looks into it."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edgegen.artifacts import release_channels
from edgegen.artifacts.policy import TrustedKey
from edgegen.artifacts.release_find import find_release
from edgegen.artifacts.release_records import Release
from edgegen.artifacts.release_roles import Releases
from edgegen.artifacts.verify import Verified, verify
from unit.artifacts.signed_bundle import signer, write

NOW = datetime.now(UTC).replace(microsecond=0)


def trusted(name: str) -> TrustedKey:
    return TrustedKey(name=name, key=signer(name).public)


def made(root: Path, **bundles: dict[str, Any]) -> dict[str, Verified]:
    """Bundles by a label, in folders of that name."""
    found = {}
    for label, changes in bundles.items():
        write(root / label, root / "work", **changes)
        found[label] = verify(root / label / "bundle")
    return found


class Fleet:
    """A repository, and one device that looks into it."""

    def __init__(self, place: Path, bundles: dict[str, Verified]) -> None:
        self.place = place / "repository"
        self.state = place / "state"
        self.root = place / "trusted.json"
        self._bundles = bundles

    def at(self, days: float = 0) -> Releases:
        return Releases(self.place, NOW + timedelta(days=days))

    def begin(self, days: float = 0) -> None:
        self.at(days).begin([signer("r1"), signer("ec-r2")], 2, signer("t"), signer("online"))
        shutil.copyfile(self.place / "metadata/1.root.json", self.root)
        self.at(days).delegate("pi", [trusted("pi")], ["raspberrypi*"], signer("t"))
        self.at(days).delegate("nothing", [trusted("null")], ["null"], signer("t"))

    def release(self, label: str, family: str = "pi", key: str = "pi", days: float = 0) -> None:
        self.add(label, "stable", family, key, days)
        self.at(days).publish(signer("online"))

    def add(self, label: str, channel: str = "stable", family: str = "pi", key: str = "pi", days: float = 0) -> Release:
        return release_channels.add(self.at(days), family, self._bundles[label], channel, signer(key))

    def find(self, target: str = "raspberrypi4", **more: Any) -> Release:
        asked: dict[str, Any] = {"target": target, "channel": "stable", "name": "digits-vae", "root": self.root}
        return find_release(str(self.place), self.state, **(asked | more))

    def file(self, name: str) -> Path:
        return self.place / "metadata" / name

    def copy(self, name: str) -> Path:
        return Path(shutil.copytree(self.place, self.place.with_name(name)))

    def put_back(self, copy: Path) -> None:
        shutil.rmtree(self.place)
        shutil.copytree(copy, self.place)
