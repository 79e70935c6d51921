"""Releases are put forward from channel to channel, and taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgegen.artifacts.release_channels import promote, recall, told
from edgegen.artifacts.release_records import Recall, Release, read_custom, read_record, recall_path, release_path
from edgegen.artifacts.verify import Verified
from edgegen.core.errors import IntegrityError, ToolMissingError, UsageError
from unit.artifacts.release_fleet import Fleet, made
from unit.artifacts.signed_bundle import signer

DIGEST = "sha256:" + "1" * 64


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verified]:
    kinds: dict[str, dict[str, Any]] = {
        "1.0.0": {"version": "1.0.0"},
        "1.1.0": {"version": "1.1.0"},
        "1.2.0": {"version": "1.2.0"},
        "five": {"version": "1.1.0", "target": "raspberrypi5"},
    }
    return made(tmp_path_factory.mktemp("channels"), **kinds)


@pytest.fixture
def fleet(tmp_path: Path, bundles: dict[str, Verified]) -> Fleet:
    """1.0.0 is in stable, 1.1.0 of two targets in canary."""
    found = Fleet(tmp_path, bundles)
    found.begin()
    found.add("1.0.0")
    found.add("1.1.0", "canary")
    found.add("five", "canary")
    found.at().publish(signer("online"))
    return found


def current(fleet: Fleet) -> dict[str, str]:
    """Version by target/channel."""
    found = (item for item in told(fleet.at()) if isinstance(item, Release))
    return {f"{item.target}/{item.channel}": item.version for item in found}


def take_back(fleet: Fleet, bad: str, **more: Any) -> tuple[Recall, list[Release]]:
    return recall(fleet.at(), "pi", bad, signer("pi"), **({"reason": "wrong scale"} | more))


def test_canary_becomes_stable_of_every_target(fleet: Fleet, bundles: dict[str, Verified]) -> None:
    moved = promote(fleet.at(), "pi", signer("pi"), start="canary", to="stable", target=None, name=None)
    assert {item.digest for item in moved} == {bundles["1.1.0"].digest, bundles["five"].digest}
    fleet.at().publish(signer("online"))
    assert fleet.find().digest == bundles["1.1.0"].digest
    assert fleet.find("raspberrypi5").digest == bundles["five"].digest
    assert fleet.find(channel="canary").version == "1.1.0"


def test_one_target_or_name_alone_is_put_forward(fleet: Fleet) -> None:
    promote(fleet.at(), "pi", signer("pi"), start="canary", to="beta", target="raspberrypi5", name="digits-vae")
    assert {key for key in current(fleet) if key.endswith("beta")} == {"raspberrypi5/beta"}
    for more in ({"name": "letters"}, {"target": "null"}, {"start": "beta", "to": "beta"}, {"start": "nightly"}):
        asked: dict[str, Any] = {"start": "canary", "to": "stable", "target": None, "name": None}
        with pytest.raises(UsageError, match="nothing to put forward"):
            promote(fleet.at(), "pi", signer("pi"), **(asked | more))


def test_channel_does_not_go_back(fleet: Fleet) -> None:
    fleet.add("1.2.0")
    with pytest.raises(IntegrityError, match="downgraded"):
        promote(fleet.at(), "pi", signer("pi"), start="canary", to="stable", target=None, name=None)
    assert current(fleet)["raspberrypi4/stable"] == "1.2.0"


def test_recalled_bundle_leaves_every_channel_for_good(fleet: Fleet, bundles: dict[str, Verified]) -> None:
    promote(fleet.at(), "pi", signer("pi"), start="canary", to="stable", target=None, name=None)
    taken, restored = take_back(fleet, bundles["1.1.0"].digest)
    assert (taken.version, taken.reason, restored) == ("1.1.0", "wrong scale", [])
    assert current(fleet) == {"raspberrypi5/canary": "1.1.0", "raspberrypi5/stable": "1.1.0"}
    with pytest.raises(UsageError, match="was recalled"):
        fleet.add("1.1.0")
    fleet.at().publish(signer("online"))
    with pytest.raises(ToolMissingError):
        fleet.find()
    fleet.add("1.2.0")
    fleet.at().publish(signer("online"))
    assert fleet.find().version == "1.2.0"


def test_version_before_takes_the_place_of_a_recalled_one(fleet: Fleet, bundles: dict[str, Verified]) -> None:
    fleet.add("1.1.0")
    _, restored = take_back(fleet, bundles["1.1.0"].digest, instead="1.0.0")
    assert {item.channel: item.digest for item in restored} == dict.fromkeys(
        ("canary", "stable"), bundles["1.0.0"].digest
    )
    assert current(fleet)["raspberrypi4/stable"] == "1.0.0"
    for instead in ("0.9.0", "1.1.0"):
        with pytest.raises(UsageError, match="no such version"):
            take_back(fleet, bundles["1.0.0"].digest, instead=instead)
    # One that is in no channel any more is recalled as well, and by its family alone.
    fleet.add("1.2.0")
    assert take_back(fleet, bundles["1.0.0"].digest)[0].version == "1.0.0"
    with pytest.raises(UsageError, match="nothing here tells"):
        take_back(fleet, DIGEST)
    with pytest.raises(UsageError, match="not one of the role"):
        recall(fleet.at(), "pi", bundles["1.2.0"].digest, signer("evil"), reason="spite")


def test_bundle_that_was_pushed_and_never_released_is_recalled_too(fleet: Fleet, bundles: dict[str, Verified]) -> None:
    taken, restored = recall(fleet.at(), "pi", bundles["1.2.0"], signer("pi"), reason="wrong scale")
    assert (taken.version, taken.digest, restored) == ("1.2.0", bundles["1.2.0"].digest, [])
    assert taken in told(fleet.at())
    with pytest.raises(UsageError, match="was recalled"):
        fleet.add("1.2.0")
    with pytest.raises(UsageError, match="may not release"):
        recall(fleet.at(), "nothing", bundles["1.2.0"], signer("null"), reason="spite")


GOOD = {"name": "n", "version": "1", "digest": DIGEST, "format": "onnx", "runtime": "onnxruntime"}


@pytest.mark.parametrize(
    ("path", "told_of_it"),
    [
        ("t/stable/n.json", None),
        ("t/stable/n.json", {**GOOD, "more": "x"}),
        ("t/stable/n.json", {**GOOD, "version": 1}),
        ("t/stable/n.json", {**GOOD, "version": "1\x1b[2J"}),
        ("t/stable/n.json", {**GOOD, "version": "1" * 201}),
        ("t/stable/n.json", {**GOOD, "name": "other"}),
        ("t/stable/n.json", {**GOOD, "digest": "md5:1"}),
        ("t/../n.json", GOOD),
        ("../stable/n.json", GOOD),
        ("t/stable/../n.json", {**GOOD, "name": "../n"}),
        ("t/recalled/n.json", {"name": "n", "version": "1", "digest": DIGEST, "reason": ""}),
        ("t", GOOD),
    ],
)
def test_statement_that_does_not_fit_its_path_is_refused(path: str, told_of_it: object) -> None:
    with pytest.raises(IntegrityError, match=r"of an unknown kind|another name than its own"):
        read_custom(path, told_of_it)


def test_statement_is_read_as_it_was_written() -> None:
    release = Release(target="t", channel="stable", **GOOD)
    assert read_custom("t/stable/n.json", GOOD) == release == read_record(release.record(), release.path)
    taken = Recall(name="n", version="1", target="t", digest=DIGEST, reason="wrong scale")
    assert read_record(taken.record(), taken.path) == taken
    with pytest.raises(IntegrityError, match="of an unknown kind"):
        read_record(release.record().replace(b'"schema_version":1', b'"schema_version":2'), release.path)


def test_no_channel_is_called_recalled() -> None:
    with pytest.raises(UsageError, match="no channel is called so"):
        release_path("t", "recalled", "n")
    with pytest.raises(UsageError, match="not a bundle's digest"):
        recall_path("t", "1.0.0")
