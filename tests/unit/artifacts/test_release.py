"""Releases for a fleet: what is current is found, and every attack that TUF names is refused with its reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgegen.artifacts.release_channels import add, remove
from edgegen.artifacts.release_find import find_release
from edgegen.artifacts.release_records import release_path
from edgegen.artifacts.release_roles import Releases
from edgegen.artifacts.verify import Verified
from edgegen.core.errors import IntegrityError, ToolMissingError, UsageError
from unit.artifacts.release_fleet import NOW, Fleet, made, trusted
from unit.artifacts.signed_bundle import signer


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verified]:
    kinds: dict[str, dict[str, Any]] = {
        "1.0.0": {"version": "1.0.0"},
        "1.1.0": {"version": "1.1.0"},
        "other": {"version": "1.0.0", "target": "null"},
    }
    return made(tmp_path_factory.mktemp("releases"), **kinds)


@pytest.fixture
def fleet(tmp_path: Path, bundles: dict[str, Verified]) -> Fleet:
    """Version 1.0.0 is released."""
    made = Fleet(tmp_path, bundles)
    made.begin()
    made.release("1.0.0")
    return made


def test_the_current_release_is_found(fleet: Fleet, bundles: dict[str, Verified]) -> None:
    first = fleet.find()
    assert (first.version, first.digest) == ("1.0.0", bundles["1.0.0"].digest)
    fleet.add("1.1.0")
    assert fleet.find() == first  # not published yet
    fleet.at().publish(signer("online"))
    assert fleet.find(root=None).digest == bundles["1.1.0"].digest


def test_targets_and_channels_are_kept_apart(fleet: Fleet, bundles: dict[str, Verified]) -> None:
    fleet.release("other", "nothing", "null")
    fleet.add("1.1.0", "canary")
    fleet.at().publish(signer("online"))
    assert fleet.find("null").digest == bundles["other"].digest
    assert fleet.find().version == "1.0.0"
    assert fleet.find(channel="canary").version == "1.1.0"
    for more in ({"target": "raspberrypi5"}, {"channel": "beta"}, {"name": "letters"}):
        with pytest.raises(ToolMissingError, match="no such release"):
            fleet.find(**more)


def test_a_release_that_was_taken_back_is_not_found(fleet: Fleet) -> None:
    path = release_path("raspberrypi4", "stable", "digits-vae")
    remove(fleet.at(), "pi", path, signer("pi"))
    fleet.at().publish(signer("online"))
    with pytest.raises(ToolMissingError, match="no such release"):
        fleet.find()
    with pytest.raises(UsageError, match="no such release"):
        remove(fleet.at(), "pi", path, signer("pi"))


def test_a_device_begins_with_a_root_that_it_was_given(fleet: Fleet) -> None:
    with pytest.raises(UsageError, match="nothing is trusted yet"):
        fleet.find(root=None)
    other = Fleet(fleet.place.parent / "other", {})
    other.at().begin([signer("evil")], 1, signer("evil"), signer("evil"))
    with pytest.raises(IntegrityError, match="unknown key"):
        fleet.find(root=other.file("1.root.json"))


def test_a_place_that_is_not_there(fleet: Fleet, tmp_path: Path) -> None:
    asked = {"target": "null", "channel": "stable", "name": "x", "root": fleet.root}
    for place in (str(tmp_path / "nowhere"), "http://127.0.0.1:9"):
        with pytest.raises(ToolMissingError):
            find_release(place, tmp_path / "state", **asked)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        find_release("ftp://x", tmp_path / "state", **asked)  # type: ignore[arg-type]


def test_a_place_that_drips_does_not_hold_the_device(fleet: Fleet) -> None:
    with pytest.raises(ToolMissingError, match="takes too long"):
        fleet.find(timeout_s=0)


# -- attacks -----------------------------------------------------------------------------------------------------------


def test_rollback_is_refused(fleet: Fleet) -> None:
    old = fleet.copy("old")
    fleet.release("1.1.0")
    assert fleet.find().version == "1.1.0"
    fleet.put_back(old)
    with pytest.raises(IntegrityError, match="rollback"):
        fleet.find()


def test_freeze_is_refused(tmp_path: Path, bundles: dict[str, Verified]) -> None:
    fleet = Fleet(tmp_path, bundles)
    fleet.begin(days=-8)
    fleet.release("1.0.0", days=-8)
    with pytest.raises(IntegrityError, match="expired"):
        fleet.find()
    fleet.at().publish(signer("online"))
    assert fleet.find().version == "1.0.0"


def test_mix_and_match_is_refused(fleet: Fleet) -> None:
    old = fleet.copy("old")
    fleet.release("1.1.0")
    newest = sorted(path.name for path in (fleet.place / "metadata").glob("*.pi.json"))[-1]
    shutil.copyfile(old / "metadata/1.pi.json", fleet.file(newest))
    with pytest.raises(IntegrityError, match="rollback"):
        fleet.find()


TAMPERED: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "snapshot": ("2.snapshot.json", lambda data: data.replace(b'"version":1', b'"version":2', 1), "unknown key"),
    "family": ("1.pi.json", lambda data: data.replace(b"1.0.0", b"9.0.0"), "unknown key"),
    "delegation": ("3.targets.json", lambda data: data.replace(b"raspberrypi*", b"r*"), "unknown key"),
    "endless": ("timestamp.json", lambda data: data + b" " * (1 << 20), "too large"),
    "no metadata": ("timestamp.json", lambda data: b"<html>", "cannot be believed"),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_tampered_metadata_are_refused(fleet: Fleet, name: str) -> None:
    file, change, reason = TAMPERED[name]
    whole = fleet.file(file).read_bytes()
    assert change(whole) != whole
    fleet.file(file).write_bytes(change(whole))
    with pytest.raises(IntegrityError, match=reason) as caught:
        fleet.find()
    assert caught.value.exit_code == 5


def test_a_tampered_record_is_refused(fleet: Fleet) -> None:
    record = next((fleet.place / "targets/raspberrypi4/stable").iterdir())
    whole = record.read_bytes()
    for spoilt, reason in (
        (whole.replace(b"1.0.0", b"1.0.9"), "tampered"),
        (whole + b" " * (1 << 20), "too large"),
        (whole[:-1], "tampered|too large"),
    ):
        record.write_bytes(spoilt)
        with pytest.raises(IntegrityError, match=reason):
            fleet.find()


def test_a_stolen_family_key_reaches_its_own_devices_alone(fleet: Fleet, bundles: dict[str, Verified]) -> None:
    """It can be made to sign a record for another device; no device of that kind takes it."""
    with pytest.raises(UsageError, match="may not release"):
        fleet.add("1.0.0", family="nothing", key="null")

    class Careless(Releases):
        def check_path(self, family: str, path: str) -> None:
            pass

    add(Careless(fleet.place, NOW), "nothing", bundles["1.1.0"], "canary", signer("null"))
    fleet.at().publish(signer("online"))
    with pytest.raises(ToolMissingError, match="no such release"):
        fleet.find(channel="canary")
    assert fleet.find().version == "1.0.0"


def test_a_stolen_family_key_does_not_bring_an_older_version_back(fleet: Fleet, bundles: dict[str, Verified]) -> None:
    fleet.release("1.1.0")
    assert fleet.find().version == "1.1.0"
    with pytest.raises(IntegrityError, match="downgraded"):
        fleet.add("1.0.0")
    remove(fleet.at(), "pi", "raspberrypi4/stable/digits-vae.json", signer("pi"))
    fleet.release("1.0.0")
    with pytest.raises(IntegrityError, match="downgraded"):
        fleet.find()


@pytest.mark.parametrize("key", ["evil", "t", "online"])
def test_another_key_does_not_release(fleet: Fleet, bundles: dict[str, Verified], key: str) -> None:
    before = sorted(path.name for path in (fleet.place / "metadata").iterdir())
    with pytest.raises(UsageError, match="not one of the role"):
        fleet.add("1.1.0", key=key)
    assert sorted(path.name for path in (fleet.place / "metadata").iterdir()) == before
    if key != "online":
        with pytest.raises(UsageError, match="not one of the role"):
            fleet.at().publish(signer(key))


# -- keys change -------------------------------------------------------------------------------------------------------


ROOTS = ("r1", "ec-r2")


def test_a_lost_online_key_is_replaced(fleet: Fleet) -> None:
    assert fleet.find().version == "1.0.0"
    for role in ("snapshot", "timestamp"):
        fleet.at().rekey(role, [trusted("online2")], 1, [signer(name) for name in ROOTS])
    before = len(list((fleet.place / "metadata").iterdir()))
    with pytest.raises(UsageError, match="not one of the role"):
        fleet.at().publish(signer("online"))
    assert len(list((fleet.place / "metadata").iterdir())) == before
    fleet.at().rekey("snapshot", [trusted("online3")], 1, [signer(name) for name in ROOTS])
    fleet.at().publish(signer("online2"), signer("online3"))
    assert fleet.find().version == "1.0.0"


def test_the_root_itself_gets_other_keys(fleet: Fleet) -> None:
    fresh = [trusted(name) for name in ("r1", "r3")]
    for too_few in (("r1",), ("r1", "ec-r2"), ("r3", "r1")):
        with pytest.raises(UsageError, match="too few"):
            fleet.at().rekey("root", fresh, 2, [signer(name) for name in too_few])
    fleet.at().rekey("root", fresh, 2, [signer(name) for name in ("r1", "ec-r2", "r3")])
    fleet.at().publish(signer("online"))
    assert fleet.find().version == "1.0.0"
    roots = json.loads(fleet.file("2.root.json").read_bytes())["signed"]["roles"]["root"]["keyids"]
    assert set(roots) == {signer(name).public.key_id for name in ("r1", "r3")}


def test_a_lost_family_key_is_replaced(fleet: Fleet) -> None:
    fleet.at().delegate("pi", [trusted("pi2")], ["raspberrypi*"], signer("t"))
    with pytest.raises(UsageError, match="release renew"):
        fleet.at().publish(signer("online"))  # what the lost key signed counts no more
    fleet.at().renew("pi", signer("pi2"))
    fleet.at().publish(signer("online"))
    assert fleet.find().version == "1.0.0"


def test_a_targets_key_is_replaced_and_its_role_signed_anew(fleet: Fleet) -> None:
    fleet.at().rekey("targets", [trusted("t2")], 1, [signer(name) for name in ROOTS])
    fleet.at().renew("targets", signer("t2"))
    fleet.at().publish(signer("online"))
    assert fleet.find().version == "1.0.0"


@pytest.mark.parametrize(
    "act",
    [
        lambda r: r.begin([signer("r1")], 1, signer("t"), signer("online")),
        lambda r: r.delegate("targets", [trusted("pi")], ["x"], signer("t")),
        lambda r: r.delegate("Pi", [trusted("pi")], ["x"], signer("t")),
        lambda r: r.delegate("pi", [], ["x"], signer("t")),
        lambda r: r.delegate("pi", [trusted("pi")], ["x/*"], signer("t")),
        lambda r: r.renew("nobody", signer("t")),
        lambda r: r.rekey("pi", [trusted("pi")], 1, [signer("r1")]),
        lambda r: r.rekey("targets", [trusted("pi")], 2, [signer("r1")]),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(fleet: Fleet, act: Callable[[Releases], None]) -> None:
    with pytest.raises(UsageError):
        act(fleet.at())


def test_no_repository_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no releases"):
        Releases(tmp_path, NOW).publish(signer("online"))
    with pytest.raises(UsageError, match="threshold"):
        Releases(tmp_path, NOW).begin([signer("r1")], 2, signer("t"), signer("online"))
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata/1.targets.json").write_bytes(b"{}")
    with pytest.raises(UsageError, match="cannot be read"):
        Releases(tmp_path, NOW).renew("targets", signer("t"))


@pytest.mark.parametrize("part", ["", "..", "a/b", ".a", "a\n"])
def test_a_release_has_plain_names(part: str) -> None:
    with pytest.raises(UsageError):
        release_path("t", part, "n")
