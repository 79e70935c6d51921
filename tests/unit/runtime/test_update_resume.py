"""An update whose download was cut goes on from there; what lies in the slot is not trusted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgegen_runtime.admission import Rules
from edgegen_runtime.sealed_bundle import Bundle
from edgegen_runtime.sources import FolderSource, WebSource
from edgegen_runtime.strict import RefusedError, UnreachableError
from edgegen_runtime.update import Slots
from support.fake_registry import FakeRegistry, fake_registry
from unit.artifacts.signed_bundle import SIGNED_ON, signed, signer
from unit.runtime.runnable_bundle import TARGET

RULES = Rules(keys=(signer("a").public,), target=TARGET)
CUT_AT = 4000


def proves(bundle: Bundle) -> None:
    assert bundle.files


def install(root: Path, source: WebSource | FolderSource) -> str:
    slots = Slots(root, RULES, proves)
    slots.install(source, SIGNED_ON, 60)
    return slots.boot().bundle.version


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("resume")
    return signed(root / "b", root / "work", "a", version="1.0.0")


@pytest.fixture
def server(made: Path) -> Iterator[FakeRegistry]:
    with fake_registry() as found:
        found.files = {f"/m/{path.relative_to(made)}": path.read_bytes() for path in made.rglob("*") if path.is_file()}
        yield found


def model(made: Path) -> Path:
    """The largest blob."""
    return max((made / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)


def cut_model(server: FakeRegistry, made: Path) -> WebSource:
    """Answers for the model end after some bytes, once."""
    path, done = f"/m/blobs/sha256/{model(made).name}", []

    def before(handler) -> bool:
        if handler.path != path or done:
            return False
        done.append(path)
        data = server.files[path]
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:CUT_AT])
        handler.cut()
        return True

    server.before = before
    return WebSource(f"http://{server.host}/m")


def ranges(server: FakeRegistry, made: Path) -> list[str]:
    return [headers.get("range", "") for _, path, headers in server.seen if path.endswith(model(made).name)]


def test_download_that_was_cut_goes_on_in_the_next_install(server: FakeRegistry, made: Path, tmp_path: Path) -> None:
    source = cut_model(server, made)
    with pytest.raises(UnreachableError, match=r"ends early|cannot be fetched"):
        install(tmp_path / "device", source)
    whole = [path.name for path in (tmp_path / "device").rglob("*") if len(path.name) == 64]
    server.seen.clear()
    assert install(tmp_path / "device", source) == "1.0.0"
    assert ranges(server, made) == [f"bytes={CUT_AT}-"]
    fetched = [path.rpartition("/")[2] for _, path, _ in server.seen]
    manifests = [name for name in whole if b"schemaVersion" in (made / "blobs/sha256" / name).read_bytes()]
    assert not set(fetched) & (set(whole) - set(manifests))  # what was whole is not fetched again
    assert not list((tmp_path / "device").rglob("*.part"))


def test_server_that_does_not_know_ranges_sends_the_whole(server: FakeRegistry, made: Path, tmp_path: Path) -> None:
    server.ranges = False
    source = cut_model(server, made)
    with pytest.raises(UnreachableError):
        install(tmp_path / "device", source)
    assert install(tmp_path / "device", source) == "1.0.0"
    assert ranges(server, made) == ["", f"bytes={CUT_AT}-", ""]


@pytest.mark.parametrize("kind", ["damaged", "other", "longer", "whole", "empty", "link", "folder"])
def test_what_lies_in_the_slot_is_not_trusted(server: FakeRegistry, made: Path, tmp_path: Path, kind: str) -> None:
    blobs, data = tmp_path / "device/slots/a/blobs/sha256", model(made).read_bytes()
    blobs.mkdir(parents=True)
    part = blobs / f"{model(made).name}.part"
    contents = {
        "damaged": b"X" + data[1:CUT_AT],
        "other": bytes(len(data)),
        "longer": data + b"more",
        "whole": data,
        "empty": b"",
    }
    if kind in contents:
        part.write_bytes(contents[kind])
    elif kind == "link":
        (tmp_path / "elsewhere").write_bytes(data[:CUT_AT])
        part.symlink_to(tmp_path / "elsewhere")
    else:
        (part / "deep").mkdir(parents=True)
    (blobs / ("ab" * 32)).write_bytes(b"a stranger")
    (blobs.parent.parent / "index.json").write_text("[]")
    server.before = lambda handler: False
    assert install(tmp_path / "device", WebSource(f"http://{server.host}/m")) == "1.0.0"
    assert {path.name for path in blobs.parent.parent.iterdir()} == {"blobs", "index.json", "oci-layout"}
    assert not (blobs / ("ab" * 32)).exists()
    if kind == "link":
        assert (tmp_path / "elsewhere").read_bytes() == data[:CUT_AT]


def test_slot_whose_folders_are_links_is_made_anew(made: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "sha256").mkdir(parents=True)
    slot = tmp_path / "device/slots/a"
    slot.mkdir(parents=True)
    os.symlink(tmp_path / "elsewhere", slot / "blobs")
    assert install(tmp_path / "device", FolderSource(made)) == "1.0.0"
    assert not list((tmp_path / "elsewhere" / "sha256").iterdir())


def test_damaged_blob_of_an_earlier_install_is_fetched_again(made: Path, tmp_path: Path) -> None:
    blobs = tmp_path / "device/slots/a/blobs/sha256"
    shutil.copytree(made / "blobs/sha256", blobs)
    (blobs / model(made).name).write_bytes(bytes(10_240))
    assert install(tmp_path / "device", FolderSource(made)) == "1.0.0"


def test_source_that_lies_is_refused_also_where_it_goes_on(made: Path, tmp_path: Path) -> None:
    lying = Path(shutil.copytree(made, tmp_path / "lying"))
    whole = model(made).read_bytes()
    model(lying).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    blobs = tmp_path / "device/slots/a/blobs/sha256"
    blobs.mkdir(parents=True)
    (blobs / f"{model(made).name}.part").write_bytes(whole[:CUT_AT])
    for _ in range(2):
        with pytest.raises(RefusedError, match="not what the manifest says"):
            install(tmp_path / "device", FolderSource(lying))
    assert install(tmp_path / "device", FolderSource(made)) == "1.0.0"
