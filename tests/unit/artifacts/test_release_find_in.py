"""What is current is found in every place that has releases: registry, folder, web server, a repository as it is."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgegen.artifacts.registry_reference import parse_reference
from edgegen.artifacts.release_find_in import PLAIN_STATE, find_in
from edgegen.artifacts.release_place import state_folder
from edgegen.artifacts.release_publish import publish_into
from edgegen.artifacts.release_records import Release
from edgegen.core.errors import IntegrityError, StorageError, ToolMissingError, UsageError
from support.fake_registry import FakeRegistry
from support.projects import edgegen
from unit.artifacts.release_shop import CALM, Shop
from unit.artifacts.signed_bundle import signer

KINDS = ("registry", "folder", "web", "repository", "web repository")


@pytest.fixture
def web() -> Iterator[Callable[[Path], str]]:
    """Serves a folder as any web server does."""
    servers = []

    def serve(folder: Path) -> str:
        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None:
                pass

        made = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder.parent))
        )
        threading.Thread(target=made.serve_forever, args=(0.01,)).start()
        servers.append(made)
        return f"http://127.0.0.1:{made.server_address[1]}/{folder.name}"

    yield serve
    for made in servers:
        made.shutdown()
        made.server_close()


@pytest.fixture
def places(shop: Shop, server: FakeRegistry, web: Callable[[Path], str], quick: None) -> dict[str, str]:
    repository = shop.fleet.place
    return {
        "registry": f"{server.host}/fw/keywords",
        "folder": shop.place,
        "web": web(shop.folder),
        "repository": str(repository),
        "web repository": web(repository),
    }


def publish(shop: Shop, places: dict[str, str], kind: str) -> None:
    if kind == "registry":
        publish_into(shop.fleet.at(), [signer("online")], parse_reference(places["registry"]), CALM)
    else:
        shop.publish()


def find(place: str, shop: Shop, **more: Any) -> Release:
    asked: dict[str, Any] = {"target": "raspberrypi4", "name": "digits-vae", "root": shop.fleet.root}
    return find_in(place, CALM, **(asked | {"state": shop.root / "state"} | more))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_current_is_found_in(kind: str, shop: Shop, places: dict[str, str]) -> None:
    shop.fleet.add("1.1.0", "canary")
    publish(shop, places, kind)
    place = places[kind]
    assert find(place, shop).digest == shop.bundles["1.0.0"].digest
    assert find(place, shop, channel="canary", root=None).digest == shop.bundles["1.1.0"].digest
    assert find(f"{place}:canary", shop, root=None).version == "1.1.0"
    with pytest.raises(ToolMissingError, match="no such release"):
        find(place, shop, target="raspberrypi5")
    with pytest.raises(UsageError, match="nothing is trusted yet"):
        find(place, shop, root=None, state=shop.root / "fresh")
    no_root = shop.root / "no-root.json"
    for wrong in (b"{}", (shop.fleet.place / "metadata/timestamp.json").read_bytes()):
        no_root.write_bytes(wrong)
        with pytest.raises(UsageError, match=r"no-root\.json"):
            find(place, shop, root=no_root, state=shop.root / "fresh")


@pytest.mark.parametrize("kind", ["folder", "web", "repository", "web repository"])
def test_older_metadata_than_were_seen_are_refused_in(kind: str, shop: Shop, places: dict[str, str]) -> None:
    lies = shop.folder if kind in ("folder", "web") else shop.fleet.place
    shutil.copytree(lies, shop.root / "old")
    shop.release("1.1.0")
    assert find(places[kind], shop).version == "1.1.0"
    shutil.rmtree(lies)
    shutil.copytree(shop.root / "old", lies)
    with pytest.raises(IntegrityError, match="rollback"):
        find(places[kind], shop)


def test_a_place_that_was_rewritten_without_a_key_is_refused(shop: Shop, places: dict[str, str]) -> None:
    def spoil(files: dict[str, bytes]) -> dict[str, bytes]:
        return {name: data.replace(b"1.0.0", b"9.0.0") for name, data in files.items()}

    shop.rewrite(spoil)
    for kind in ("folder", "web"):
        with pytest.raises(IntegrityError):
            find(places[kind], shop)


def test_find_and_pull_remember_the_same(
    shop: Shop, places: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEGEN_STATE", str(tmp_path / "kept"))
    monkeypatch.chdir(tmp_path)
    assert find(shop.place, shop, state=None).version == "1.0.0"
    assert (state_folder(parse_reference(shop.place)) / "root.json").is_file()
    assert not (tmp_path / PLAIN_STATE).exists()
    assert find(places["repository"], shop, state=None).version == "1.0.0"
    assert (tmp_path / PLAIN_STATE / "root.json").is_file()


def test_places_without_releases_are_told(shop: Shop, server: FakeRegistry, web: Callable[[Path], str]) -> None:
    (shop.root / "empty").mkdir()
    plain = shop.packed / "1.0.0" / "bundle"
    for place in (f"oci:{plain}", f"{server.host}/fw/none", web(plain), "http://127.0.0.1:9"):
        with pytest.raises(ToolMissingError):
            find(place, shop)
    with pytest.raises(UsageError, match="no OCI layout"):
        find(web(shop.root / "empty"), shop)
    with pytest.raises(UsageError, match="names no artifact"):
        find("ftp://x/y", shop)
    for more in ({"place": f"{shop.place}:canary", "channel": "stable"}, {"place": f"{shop.place}@sha256:{'0' * 64}"}):
        with pytest.raises(UsageError, match="not one channel"):
            find(**more, shop=shop)


def test_the_command_finds_in_a_folder_of_bundles(shop: Shop, tmp_path: Path) -> None:
    ran = edgegen(
        *("release", "find", shop.place, "--target", "raspberrypi4", "--name", "digits-vae", "--json"),
        *("--root", str(shop.fleet.root)),
        cache=tmp_path / "cache", cwd=tmp_path, EDGEGEN_STATE=str(tmp_path / "kept"),
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.document["digest"] == shop.bundles["1.0.0"].digest


@pytest.mark.parametrize("kind", ["folder", "repository"])
def test_a_folder_of_what_was_seen_that_cannot_be_written_is_told(
    shop: Shop, places: dict[str, str], kind: str, tmp_path: Path
) -> None:
    publish(shop, places, kind)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="set EDGEGEN_STATE"):
        find(f"{places[kind]}:stable" if kind == "folder" else places[kind], shop, state=tmp_path / "file" / "state")
