"""Several people publish in one place: what each signed stays, and nothing older comes in the place of newer."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgegen.artifacts import release_publish
from edgegen.artifacts.registry_reference import Reference, parse_reference
from edgegen.artifacts.release_artifact import RELEASES_TAG, find_releases
from edgegen.artifacts.release_channels import add, recall, remove, told
from edgegen.artifacts.release_place import Trusting, trusted_listing
from edgegen.artifacts.release_publish import fetch_from, publish_into
from edgegen.artifacts.release_records import Release
from edgegen.artifacts.release_roles import Releases
from edgegen.artifacts.transfer_places import Access, source_of
from edgegen.artifacts.verify import Verified
from edgegen.core.errors import EdgegenError, IntegrityError, ToolMissingError, UsageError
from edgegen.core.store import Store
from unit.artifacts.release_fleet import NOW, Fleet, made, trusted
from unit.artifacts.signed_bundle import signer

CALM = Access(patience=replace(Access().patience, settle_s=(0.01, 0.03)))
ROOTS = ("r1", "ec-r2")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verified]:
    kinds: dict[str, dict[str, Any]] = {
        "1.0.0": {"version": "1.0.0"},
        "1.1.0": {"version": "1.1.0"},
        "null": {"version": "2.0.0", "target": "null"},
    }
    return made(tmp_path_factory.mktemp("published"), **kinds)


@pytest.fixture
def fleet(tmp_path: Path, bundles: dict[str, Verified]) -> Fleet:
    """A folder with nothing released, which its place has."""
    found = Fleet(tmp_path, bundles)
    found.begin()
    publish(found.at(), tmp_path)
    return found


def place(tmp_path: Path) -> Reference:
    return parse_reference(f"oci:{tmp_path}/shop")


def publish(releases: Releases, tmp_path: Path, **more: Any) -> str:
    return publish_into(releases, [signer("online")], place(tmp_path), CALM, **more)


def fetched(name: str, tmp_path: Path, **more: Any) -> Releases:
    asked: dict[str, Any] = {"root": tmp_path / "trusted.json", "prefer_theirs": False}
    return fetch_from(tmp_path / name, NOW, place(tmp_path), CALM, **(asked | more))


def current(tmp_path: Path, device: str = "device") -> dict[str, str]:
    """Version by target, as a device believes it."""
    with source_of(place(tmp_path), CALM) as source:
        known = Trusting(state=tmp_path / device, root=tmp_path / "trusted.json")
        listing = trusted_listing(source, known, CALM.patience)
    return {item.target: item.version for item in listing.statements if isinstance(item, Release)}


def test_folder_of_another_person_goes_on_from_the_place(
    fleet: Fleet, bundles: dict[str, Verified], tmp_path: Path
) -> None:
    fleet.add("1.0.0")
    publish(fleet.at(), tmp_path)
    other = fetched("other", tmp_path)
    assert [item.digest for item in told(other)] == [bundles["1.0.0"].digest]
    add(other, "pi", bundles["1.1.0"], "stable", signer("pi"))
    publish(other, tmp_path)
    assert current(tmp_path) == {"raspberrypi4": "1.1.0"}
    # Whoever was first publishes again: what the other did comes in.
    publish(fleet.at(), tmp_path)
    assert current(tmp_path) == {"raspberrypi4": "1.1.0"}
    assert fleet.find().version == "1.1.0"


def test_older_folder_does_not_take_newer_metadata_away(fleet: Fleet, tmp_path: Path) -> None:
    backup = Path(shutil.copytree(fleet.place, tmp_path / "backup"))
    fleet.add("1.0.0")
    publish(fleet.at(), tmp_path)
    assert current(tmp_path) == {"raspberrypi4": "1.0.0"}
    publish(Releases(backup, NOW), tmp_path)
    assert current(tmp_path) == {"raspberrypi4": "1.0.0"}


def test_both_changed_one_family(fleet: Fleet, bundles: dict[str, Verified], tmp_path: Path) -> None:
    fleet.add("1.0.0")
    publish(fleet.at(), tmp_path)
    other = fetched("other", tmp_path)
    add(other, "pi", bundles["1.1.0"], "stable", signer("pi"))
    fleet.add("1.0.0", "canary")
    publish(fleet.at(), tmp_path)
    for _ in range(2):
        with pytest.raises(UsageError, match="pi was changed in the place and in the folder"):
            publish(other, tmp_path)
    add(other, "pi", bundles["1.1.0"], "beta", signer("pi"))  # further ahead, and still of another past
    with pytest.raises(UsageError, match="was changed"):
        fetched("other", tmp_path)
    other = fetched("other", tmp_path, prefer_theirs=True)
    assert {item.channel for item in told(other) if isinstance(item, Release)} == {"stable", "canary"}
    add(other, "pi", bundles["1.1.0"], "stable", signer("pi"))
    publish(other, tmp_path)
    assert current(tmp_path)["raspberrypi4"] == "1.1.0"


def test_change_that_was_overtaken_twice_is_not_lost_in_silence(
    fleet: Fleet, bundles: dict[str, Verified], tmp_path: Path
) -> None:
    other = fetched("other", tmp_path)
    add(other, "pi", bundles["1.1.0"], "canary", signer("pi"))
    for channel in ("stable", "beta"):
        fleet.add("1.0.0", channel)
        publish(fleet.at(), tmp_path)
    with pytest.raises(UsageError, match="was changed"):
        publish(other, tmp_path)


def test_two_who_publish_at_once_both_get_through(fleet: Fleet, bundles: dict[str, Verified], tmp_path: Path) -> None:
    other = fetched("other", tmp_path)
    fleet.add("1.0.0")
    add(other, "nothing", bundles["null"], "stable", signer("null"))
    failures, start = [], threading.Barrier(2)

    def run(releases: Releases) -> None:
        try:
            start.wait(10)
            publish(releases, tmp_path)
        except EdgegenError as error:
            failures.append(error)

    people = [threading.Thread(target=run, args=(releases,)) for releases in (fleet.at(), other)]
    for person in people:
        person.start()
    for person in people:
        person.join(60)
    assert not failures
    assert current(tmp_path) == {"raspberrypi4": "1.0.0", "null": "2.0.0"}


def test_writer_who_comes_between_look_and_tag_is_not_overwritten(
    fleet: Fleet, bundles: dict[str, Verified], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, whole, came = fetched("other", tmp_path), release_publish.hand_over, []
    add(other, "nothing", bundles["null"], "stable", signer("null"))
    fleet.add("1.0.0")

    def overtaken(*given: Any) -> str | None:
        if not came:
            came.append(True)
            publish(other, tmp_path)
        return whole(*given)

    monkeypatch.setattr(release_publish, "hand_over", overtaken)
    publish(fleet.at(), tmp_path)
    assert current(tmp_path) == {"raspberrypi4": "1.0.0", "null": "2.0.0"}


@pytest.mark.parametrize("at", range(6))
def test_publisher_killed_between_writes_leaves_old_or_new(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    fleet.add("1.0.0")
    publish(fleet.at(), tmp_path)
    fleet.add("1.1.0")
    whole, writes = Store._replace, []

    class KilledError(Exception):
        pass

    def dying(store: Store, target: Path, data: bytes) -> None:
        if len(writes) == at:
            raise KilledError
        writes.append(target)
        whole(store, target, data)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "_replace", dying)
        patched.setattr(Store, "add_file", lambda store, path: store.add_bytes(path.read_bytes()))
        try:
            publish(fleet.at(), tmp_path)
        except KilledError:
            assert current(tmp_path)["raspberrypi4"] in ("1.0.0", "1.1.0")
    publish(fleet.at(), tmp_path)
    assert current(tmp_path) == {"raspberrypi4": "1.1.0"}


def test_releases_of_another_root_are_not_replaced_in_silence(fleet: Fleet, tmp_path: Path) -> None:
    theirs = Releases(tmp_path / "theirs", NOW)
    theirs.begin([signer("evil")], 1, signer("evil"), signer("online"))
    with pytest.raises(IntegrityError, match="does not vouch for") as caught:
        publish(theirs, tmp_path)
    assert caught.value.exit_code == 5
    publish(theirs, tmp_path, replace=True)
    with pytest.raises(IntegrityError, match="unknown key"):
        current(tmp_path)
    publish(fleet.at(), tmp_path, replace=True)
    assert current(tmp_path) == {}


def test_rotated_root_reaches_other_folders_and_devices(fleet: Fleet, tmp_path: Path) -> None:
    other = fetched("other", tmp_path)
    assert current(tmp_path) == {}
    for name in ("r3", "r4"):
        roots = [signer(item) for item in (*ROOTS, "r3", "r4")]
        fleet.at().rekey("root", [trusted("r1"), trusted(name)], 1, roots)
    for role in ("snapshot", "timestamp"):
        fleet.at().rekey(role, [trusted("online2")], 1, [signer("r4")])
    publish_into(fleet.at(), [signer("online2")], place(tmp_path), CALM)
    with pytest.raises(UsageError, match="not one of the role"):
        publish(other, tmp_path)  # the lost online key opens nothing any more
    assert current(tmp_path) == {}
    assert other.versions("root") == [1, 2, 3, 4, 5]
    fresh = fetched("fresh", tmp_path)
    assert fresh.versions("root") == [1, 2, 3, 4, 5]


def test_family_is_taken_back_from_a_thief_who_published(
    fleet: Fleet, bundles: dict[str, Verified], tmp_path: Path
) -> None:
    fleet.add("1.0.0")
    publish(fleet.at(), tmp_path)
    thief = fetched("thief", tmp_path)
    for channel in ("stable", "beta"):
        add(thief, "pi", bundles["1.1.0"], channel, signer("pi"))
    publish(thief, tmp_path)
    fleet.at().delegate("pi", [trusted("pi2")], ["raspberrypi*"], signer("t"))
    fleet.at().renew("pi", signer("pi2"))
    with pytest.raises(UsageError, match="was changed"):
        publish(fleet.at(), tmp_path)
    ours = fetch_from(fleet.place, NOW, place(tmp_path), CALM, root=None, prefer_theirs=True)
    recall(ours, "pi", bundles["1.1.0"].digest, signer("pi2"), reason="not ours", instead="1.0.0")
    remove(ours, "pi", "raspberrypi4/beta/digits-vae.json", signer("pi2"))
    publish(ours, tmp_path)
    assert current(tmp_path) == {"raspberrypi4": "1.0.0"}
    add(thief, "pi", bundles["1.1.0"], "gamma", signer("pi"))
    with pytest.raises(UsageError, match="was changed"):
        publish(thief, tmp_path)
    thief = fetched("thief", tmp_path, prefer_theirs=True)
    with pytest.raises(UsageError, match="not one of the role"):
        remove(thief, "pi", "raspberrypi4/stable/digits-vae.json", signer("pi"))
    assert current(tmp_path) == {"raspberrypi4": "1.0.0"}


def test_folder_begins_with_a_root_that_was_given(fleet: Fleet, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--root"):
        fetched("new", tmp_path, root=None)
    (tmp_path / "bad.json").write_bytes(fleet.root.read_bytes().replace(b"2027", b"2097"))
    with pytest.raises(UsageError, match="not signed by their own keys"):
        fetched("new", tmp_path, root=tmp_path / "bad.json")
    with pytest.raises(UsageError, match="there are no releases"):
        publish(Releases(tmp_path / "empty", NOW), tmp_path)
    nothing = parse_reference(f"oci:{tmp_path}/nothing")
    shutil.copytree(tmp_path / "shop", tmp_path / "nothing")
    store = Store(tmp_path / "nothing")
    store.prune(0)
    with pytest.raises(ToolMissingError, match="no releases"):
        fetch_from(tmp_path / "new", NOW, nothing, CALM, root=fleet.root, prefer_theirs=False)


def test_place_has_the_newest_metadata_every_root_and_the_records(fleet: Fleet, tmp_path: Path) -> None:
    for label in ("1.0.0", "1.1.0"):
        fleet.add(label)
        publish(fleet.at(), tmp_path)
    with source_of(place(tmp_path), CALM) as source:
        found = find_releases(source, CALM.patience)
        assert found is not None
        assert source.find(RELEASES_TAG) is not None
    names = found.names()
    assert {name.split(".", 1)[-1] for name in names} == {
        "root.json", "targets.json", "snapshot.json", "json", "pi.json",
    }  # fmt: skip
    assert len(names) == 5
