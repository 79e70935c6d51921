"""Pull from a channel: the newest that fits the device, and nothing that was taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.artifacts.registry_reference import parse_reference
from edgegen.artifacts.release_channels import add
from edgegen.artifacts.release_place import Trusting, state_folder, trusted_listing
from edgegen.artifacts.release_pull import take
from edgegen.artifacts.release_roles import Releases
from edgegen.artifacts.transfer_places import destination_of, source_of
from edgegen.artifacts.transfer_push import push
from edgegen.core.errors import IntegrityError, ToolMissingError, UsageError
from edgegen.core.ports import Silent
from unit.artifacts.release_fleet import NOW, made
from unit.artifacts.release_shop import CALM, Shop
from unit.artifacts.signed_bundle import signer, trusting

# -- what is taken -----------------------------------------------------------------------------------------------------


def test_newest_release_of_a_channel_is_pulled(shop: Shop) -> None:
    first = shop.pull()
    assert (first.pulled.digest, shop.got()) == (shop.bundles["1.0.0"].digest, "1.0.0")
    shop.release("1.1.0", "canary")
    assert shop.pull(trusts=False).pulled.digest == first.pulled.digest
    assert shop.pull(tag=":canary", trusts=False).pulled.manifest.version == "1.1.0"
    shop.release("1.1.0")
    assert shop.pull(trusts=False).pulled.digest == shop.bundles["1.1.0"].digest


def test_device_takes_the_newest_that_fits_and_its_own_of_one_version(shop: Shop) -> None:
    shop.release("1.1.0")
    taken = shop.pull("raspberrypi5")
    assert taken.pulled.manifest.target == "raspberrypi4"  # a Cortex-A76 has all that a Cortex-A72 has
    shop.release("five")
    taken = shop.pull("raspberrypi5")
    assert taken.pulled.manifest.target == "raspberrypi5"
    assert taken.wanted.choice is not None
    assert [reason for _, reason in taken.wanted.choice.passed] == ["1.1.0 for raspberrypi5 comes first"]
    shop.release("any", family="any", key="any")
    assert shop.pull("raspberrypi5").pulled.manifest.version == "1.2.0"
    shop.release("null", family="nothing", key="null")
    newest = shop.pull("raspberrypi4", device="four")
    assert newest.pulled.manifest.version == "1.2.0"
    assert newest.wanted.choice is not None
    assert {item.target: reason for item, reason in newest.wanted.choice.passed} == {
        "raspberrypi4": "1.2.0 for generic-aarch64 comes first",
        "raspberrypi5": "the device's core has no dotprod, fp16",
        "null": "for null, the device is aarch64",
    }
    with pytest.raises(ToolMissingError, match="no release fits"):
        shop.pull("raspberrypi2", device="two")
    with pytest.raises(ToolMissingError, match="no profile says that it fits our-own"):
        shop.pull("our-own", device="own")
    with pytest.raises(UsageError, match="several targets"):
        shop.pull(None, device="none")


def test_project_is_named_where_a_channel_has_several(shop: Shop, tmp_path: Path) -> None:
    other = made(tmp_path / "more", letters={"name": "letters", "version": "7.0.0"})["letters"]
    add(shop.fleet.at(), "pi", other, "stable", signer("pi"))
    shop.publish()
    with pytest.raises(UsageError, match=r"several names.*--name"):
        shop.pull()
    assert shop.pull(name="digits-vae").pulled.manifest.version == "1.0.0"
    with pytest.raises(ToolMissingError, match="no such release"):
        shop.pull(name="words")
    with pytest.raises(IntegrityError, match="a manifest is missing"):
        shop.pull(name="letters")  # released, and never pushed


def test_version_and_digest_are_pulled_beside_channels(shop: Shop) -> None:
    shop.release("1.1.0")
    with destination_of(parse_reference(shop.place), CALM) as destination:
        push([shop.bundles_at("1.0.0")], destination, "1.0.0", progress=Silent())
    assert shop.pull(tag=":1.0.0").pulled.manifest.version == "1.0.0"
    digest = shop.bundles["1.0.0"].digest
    assert shop.pull(tag=f"@{digest}").pulled.digest == digest
    assert shop.pull(tag=":1.0.0", trusts=False, device="new").wanted.unasked is True
    with pytest.raises(ToolMissingError, match=r"no such channel.*nightly.*stable"):
        shop.pull(tag=":nightly")
    with pytest.raises(IntegrityError, match="the tag is no channel"):
        shop.pull(tag=":1.1.0-tag")


def test_bundle_is_not_put_into_the_place_itself(shop: Shop) -> None:
    reference = parse_reference(f"{shop.place}:stable")
    with source_of(reference, CALM) as source, pytest.raises(UsageError, match="it comes from"):
        take(
            source, reference, shop.folder, Trusting(state=shop.root / "nothing"), target=None, policy=None, now=NOW,
            progress=Silent(), patience=CALM.patience,
        )  # fmt: skip


def test_place_without_releases_is_pulled_from_as_ever(shop: Shop) -> None:
    with destination_of(parse_reference(f"{shop.place}2"), CALM) as destination:
        push([shop.bundles_at("1.0.0")], destination, "stable", progress=Silent())
    reference = parse_reference(f"{shop.place}2:stable")
    with source_of(reference, CALM) as source:
        taken = take(
            source, reference, shop.root / "plain", Trusting(state=shop.root / "nothing"), target=None, policy=None,
            now=NOW, progress=Silent(), patience=CALM.patience,
        )  # fmt: skip
    assert (taken.pulled.manifest.version, taken.wanted.choice) == ("1.0.0", None)
    assert not (shop.root / "nothing").exists()


# -- who is trusted ----------------------------------------------------------------------------------------------------


def test_channel_needs_a_root_once(shop: Shop) -> None:
    with pytest.raises(UsageError, match="--root"):
        shop.pull(trusts=False)
    shop.pull()
    assert shop.pull(trusts=False).pulled.manifest.version == "1.0.0"


def test_root_of_somebody_else_is_refused(shop: Shop) -> None:
    other = Releases(shop.root / "other", NOW)
    other.begin([signer("evil")], 1, signer("evil"), signer("evil"))
    shop.fleet.root = shop.root / "other/metadata/1.root.json"
    with pytest.raises(IntegrityError, match="unknown key"):
        shop.pull()
    assert not (shop.root / "device" / "out").exists()


def test_policy_is_asked_before_anything_gets_its_name(shop: Shop) -> None:
    with pytest.raises(IntegrityError, match="unsigned"):
        shop.pull(policy=trusting("vendor"))
    assert {path.name for path in (shop.root / "device" / "out").iterdir()} == {".edgegen-pull"}
    shop.release("1.1.0")
    taken = shop.pull(policy=trusting("vendor"))
    assert taken.trust is not None
    assert list(taken.trust.signers) == ["vendor"]
    with pytest.raises(IntegrityError, match="unknown key"):
        shop.pull(policy=trusting("stranger"))
    assert shop.got() == "1.1.0"
    # What the policy recalls is not chosen.
    shop.release("any", family="any", key="any")
    policy = trusting("vendor", recalled=(shop.bundles["any"].digest,))
    assert shop.pull(policy=policy, device="new").pulled.manifest.version == "1.1.0"


# -- recall ------------------------------------------------------------------------------------------------------------


def test_recalled_bundle_is_not_taken_in_any_way(shop: Shop) -> None:
    shop.release("1.1.0")
    shop.pull()
    digest = shop.bundles["1.1.0"].digest
    shop.recall("1.1.0")
    with pytest.raises(ToolMissingError, match="no such channel"):
        shop.pull()
    with pytest.raises(IntegrityError, match=r"recalled.*wrong scale") as caught:
        shop.pull(tag=f"@{digest}")
    assert caught.value.exit_code == 5
    # What was released before takes its place where nobody has the bad one; devices that have it wait for a higher one.
    shop.release("1.0.0")
    with pytest.raises(IntegrityError, match="downgraded"):
        shop.pull()
    assert shop.pull(device="new").pulled.manifest.version == "1.0.0"
    with source_of(parse_reference(shop.place), CALM) as source:
        listing = trusted_listing(source, Trusting(state=shop.root / "device" / "state"), CALM.patience)
    assert listing.document(digest)["is_recalled"] is True
    assert listing.document(shop.bundles["1.0.0"].digest)["current_in"] == ["stable"]


def test_state_is_kept_by_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEGEN_STATE", str(tmp_path))
    places = ("registry.lan/fw/kws:1", "registry.lan/fw/kws@sha256:" + "0" * 64, "registry.lan/other/kws", "oci:kws")
    folders = [state_folder(parse_reference(text)) for text in places]
    assert folders[0] == folders[1]
    assert len(set(folders)) == 3
    assert all(folder.parent == tmp_path / "releases" for folder in folders)
    monkeypatch.delenv("EDGEGEN_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert state_folder(parse_reference("oci:kws")).parent == tmp_path / "xdg/edgegen/releases"
