"""Every way to give a device something else than what is released for it is refused, with its reason."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.artifacts.registry_reference import parse_reference
from edgegen.artifacts.release_artifact import RELEASES_TAG
from edgegen.artifacts.release_channels import add, remove
from edgegen.artifacts.release_place import Trusting, trusted_listing
from edgegen.artifacts.release_publish import publish_into
from edgegen.artifacts.release_roles import Releases
from edgegen.artifacts.transfer_places import source_of
from edgegen.core.digests import canonical_json
from edgegen.core.errors import IntegrityError, ToolMissingError
from edgegen.core.store import REF_NAME, TITLE, Store
from unit.artifacts.release_fleet import NOW, Fleet, trusted
from unit.artifacts.release_shop import CALM, Shop
from unit.artifacts.signed_bundle import signer


def test_replayed_older_metadata_are_refused(shop: Shop) -> None:
    kept = shop.keep()
    shop.release("1.1.0")
    shop.pull()
    shop.put_back(kept)
    with pytest.raises(IntegrityError, match="rollback") as caught:
        shop.pull()
    assert (caught.value.exit_code, shop.got()) == (5, "1.1.0")


def test_expired_metadata_are_refused(tmp_path: Path, shop: Shop) -> None:
    old = Shop(Fleet(tmp_path / "old", shop.bundles), shop.bundles, tmp_path / "old", shop.packed)
    shutil.copytree(shop.packed / "shop", old.folder)
    old.fleet.begin(days=-8)
    old.publish(days=-8)
    with pytest.raises(IntegrityError, match="expired") as caught:
        old.pull()
    assert caught.value.exit_code == 5
    old.release("1.0.0")  # whoever has the key goes on from there
    assert old.pull().pulled.manifest.version == "1.0.0"


def test_metadata_that_are_gone_are_missed(shop: Shop) -> None:
    """Whoever can write tags and has no key cannot make a channel a plain tag again."""
    shop.pull()
    index = json.loads((shop.folder / "index.json").read_bytes())
    index["manifests"] = [item for item in index["manifests"] if item["annotations"][REF_NAME] != RELEASES_TAG]
    (shop.folder / "index.json").write_bytes(canonical_json(index))
    shop.tag("1.0.0", "stable")
    for trusts in (True, False):
        with pytest.raises(ToolMissingError, match="no releases") as caught:
            shop.pull(trusts=trusts)
        assert caught.value.exit_code == 4
    # Nobody promised anything to a device that was never told whom to trust.
    assert shop.pull(trusts=False, device="new").wanted.choice is None


def test_plain_tag_that_is_called_like_a_channel_does_not_count(shop: Shop) -> None:
    shop.release("1.1.0")
    shop.tag("1.0.0", "stable")
    taken = shop.pull()
    assert (taken.pulled.manifest.version, taken.wanted.shadowed) == ("1.1.0", True)


def test_channel_that_was_emptied_does_not_become_a_plain_tag(shop: Shop) -> None:
    shop.tag("1.0.0", "stable")
    remove(shop.fleet.at(), "pi", "raspberrypi4/stable/digits-vae.json", signer("pi"))
    shop.publish()
    with pytest.raises(IntegrityError, match="the tag is no channel"):
        shop.pull()


Change = Callable[[dict[str, bytes]], dict[str, bytes]]
TAMPERED: dict[str, tuple[Change, str]] = {
    "release changed": (lambda all_: {n: d.replace(b"1.0.0", b"9.0.0") for n, d in all_.items()}, "unknown key"),
    "record exchanged": (lambda all_: {n: b"{}" if n[0] == "r" else d for n, d in all_.items()}, "missing among"),
    "family left away": (lambda all_: {n: d for n, d in all_.items() if ".pi." not in n}, "missing among"),
    "snapshot left away": (lambda all_: {n: d for n, d in all_.items() if "snapshot" not in n}, "missing among"),
    "no timestamp": (lambda all_: {n: d for n, d in all_.items() if n != "timestamp.json"}, "missing among"),
    "timestamp without an end": (lambda all_: all_ | {"timestamp.json": b"[" * 4_000_000}, "too large"),
    "larger than any role": (lambda all_: all_ | {"timestamp.json": b"[" * 6_000_000}, "larger than it may be"),
    "timestamp nested": (lambda all_: all_ | {"timestamp.json": b"[" * 16_000}, "cannot be believed"),
    "timestamp is no metadata": (lambda all_: all_ | {"timestamp.json": b"<html>"}, "cannot be believed"),
    "root by nobody": (
        lambda all_: all_ | {"2.root.json": all_["1.root.json"].replace(b'"version":1', b'"version":2')},
        "unknown key",
    ),
    "root of a later time": (lambda all_: all_ | {"2.root.json": all_["1.root.json"]}, "rollback"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_tampered_releases_are_refused(shop: Shop, name: str) -> None:
    change, reason = TAMPERED[name]
    shop.rewrite(change)
    with pytest.raises(IntegrityError, match=reason) as caught:
        shop.pull()
    assert caught.value.exit_code == 5
    assert not (shop.root / "device" / "out").exists()


def test_byte_flipped_in_any_file_of_the_releases_is_refused_or_changes_nothing(shop: Shop) -> None:
    dice, digest, refused = random.Random(8), shop.bundles["1.0.0"].digest, 0
    manifest = Store(shop.folder).find(RELEASES_TAG)
    assert manifest is not None
    files = [shop.folder / "blobs" / layer["digest"].replace(":", "/") for layer in manifest["layers"]]
    for path in (*files, shop.folder / "index.json"):
        whole = path.read_bytes()
        at = dice.randrange(len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << dice.randrange(8)]) + whole[at + 1 :])
        try:
            assert shop.pull(device=path.name).pulled.digest == digest, path
        except (IntegrityError, ToolMissingError):
            refused += 1
        path.write_bytes(whole)
    assert refused >= len(files) - 1
    assert shop.pull(device="last").pulled.digest == digest


def test_mix_of_two_moments_is_refused(shop: Shop) -> None:
    older = (shop.fleet.place / "metadata/1.pi.json").read_bytes()
    shop.release("1.1.0")
    shop.rewrite(lambda all_: {n: older if n.endswith(".pi.json") else d for n, d in all_.items()})
    with pytest.raises(IntegrityError, match="rollback"):
        shop.pull()


def test_place_that_drips_does_not_hold_the_device(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgegen.artifacts.release_artifact.MAX_SECONDS", -1.0)
    with pytest.raises(ToolMissingError, match="too long") as caught:
        shop.pull()
    assert caught.value.exit_code == 4


def test_thousands_of_layers_are_refused(shop: Shop) -> None:
    shop.rewrite(lambda files: files | {f"{number}.x.json": b"{}" for number in range(1, 1100)})
    with pytest.raises(IntegrityError, match="too many layers"):
        shop.pull()


def test_something_else_under_the_releases_tag_is_refused(shop: Shop) -> None:
    shop.tag("1.0.0", RELEASES_TAG)
    with pytest.raises(IntegrityError, match="these are no releases"):
        shop.pull()


def test_stolen_family_key_reaches_its_own_devices_alone(shop: Shop) -> None:
    class Careless(Releases):
        def check_path(self, family: str, path: str) -> None:
            pass

    add(Careless(shop.fleet.place, NOW), "nothing", shop.bundles["1.1.0"], "stable", signer("null"))
    shop.publish()
    assert shop.pull().pulled.manifest.version == "1.0.0"


def test_stolen_family_key_does_not_bring_an_older_version_back(shop: Shop) -> None:
    shop.release("1.1.0")
    shop.pull()
    remove(shop.fleet.at(), "pi", "raspberrypi4/stable/digits-vae.json", signer("pi"))
    shop.release("1.0.0")
    with pytest.raises(IntegrityError, match="downgraded") as caught:
        shop.pull()
    assert (caught.value.exit_code, shop.got()) == (5, "1.1.0")
    assert shop.pull(device="new").pulled.manifest.version == "1.0.0"


def test_release_that_names_the_bundle_of_another_device_is_refused(shop: Shop) -> None:
    fake = replace(shop.bundles["null"], manifest=replace(shop.bundles["null"].manifest, target="raspberrypi4"))
    add(shop.fleet.at(), "pi", fake, "stable", signer("pi"))
    shop.publish()
    with pytest.raises(IntegrityError, match="another device") as caught:
        shop.pull()
    assert caught.value.exit_code == 5
    relabelled = replace(shop.bundles["1.0.0"].manifest, version="4.0.0")
    add(shop.fleet.at(), "pi", replace(shop.bundles["1.0.0"], manifest=relabelled), "stable", signer("pi"))
    shop.publish()
    with pytest.raises(IntegrityError, match="not the one that was released"):
        shop.pull()


@contextmanager
def odd_server(folder: Path, odd: str, pieces: Callable[[], Iterator[bytes]]) -> Iterator[str]:
    """Serves a folder, but one file in pieces of its own and without saying how long it is."""

    class Odd(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.endswith(odd):
                super().do_GET()
                return
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                for piece in pieces():
                    self.wfile.write(piece)

        def log_message(self, *given: object) -> None:
            pass

    handler = functools.partial(Odd, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def drip() -> Iterator[bytes]:
    for _ in range(100):
        yield b" "
        time.sleep(0.05)


def endless() -> Iterator[bytes]:
    for _ in range(1 << 12):
        yield b" " * (1 << 16)


@pytest.mark.parametrize(("pieces", "reason", "code"), [(drip, "too slow", 4), (endless, "more than it may", 5)])
def test_odd_server_is_left(shop: Shop, pieces: Callable[[], Iterator[bytes]], reason: str, code: int) -> None:
    manifest = Store(shop.folder).find(RELEASES_TAG)
    assert manifest is not None
    timestamp = next(item for item in manifest["layers"] if item["annotations"][TITLE] == "timestamp.json")
    impatient = replace(CALM.patience, window_s=0.3, min_bytes_per_s=200, attempts=2, first_pause_s=0.01)
    with odd_server(shop.root, timestamp["digest"].removeprefix("sha256:"), pieces) as address:
        reference = parse_reference(f"{address}/shop:stable")
        known = Trusting(state=shop.root / "state", root=shop.fleet.root)
        with (
            source_of(reference, replace(CALM, patience=impatient)) as source,
            pytest.raises((IntegrityError, ToolMissingError), match=reason) as caught,
        ):
            trusted_listing(source, known, impatient)
    assert caught.value.exit_code == code


def test_state_that_was_left_half_written_still_knows_whom_to_trust(shop: Shop) -> None:
    shop.pull()
    (shop.root / "device" / "state" / "root.json").unlink()
    assert shop.pull(trusts=False).pulled.manifest.version == "1.0.0"


def test_stolen_online_key_that_ran_ahead_is_overcome_by_another(shop: Shop) -> None:
    """A thief may raise the versions of what the key signs; with other keys the device forgets those."""
    shop.pull()
    metadata = shop.fleet.place / "metadata"
    kept = shutil.copytree(metadata, shop.root / "metadata")
    snapshot = max(metadata.glob("*.snapshot.json"), key=lambda path: int(path.name.split(".")[0]))
    snapshot.rename(metadata / "1000000.snapshot.json")
    shop.publish()
    shop.pull()
    shutil.rmtree(metadata)
    shutil.copytree(kept, metadata)
    for role in ("snapshot", "timestamp"):
        shop.fleet.at().rekey(role, [trusted("online2")], 1, [signer("r1"), signer("ec-r2")])
    reference = parse_reference(shop.place)
    publish_into(shop.fleet.at(), [signer("online2")], reference, CALM)
    assert shop.pull().pulled.manifest.version == "1.0.0"
