"""What tests of pulls share: a bundle that a registry of this process serves, forged, cut, or with a flipped bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from pushed_bundle import pull_from

from edgegen.core.digests import canonical_json
from edgegen.core.errors import EdgegenError
from support.fake_registry import FakeRegistry, digest_of

LARGE = bytes(range(251)) * 20_000  # 5 MB
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
TITLE = "org.opencontainers.image.title"


def address(server: FakeRegistry, rest: str = ":1") -> str:
    return f"{server.host}/fw/kws{rest}"


def forge(server: FakeRegistry, digest: str, **changes: Any) -> str:
    """Puts another core under the tag, every digest right; its evidence and training stay behind."""
    table = json.loads(server.manifests[f"fw/kws@{digest}"][1])
    data = canonical_json({**table, **changes})
    server.put("fw/kws", "1", MANIFEST_TYPE, data)
    return digest_of(data)


def layers(server: FakeRegistry, digest: str) -> list[dict[str, Any]]:
    return json.loads(server.manifests[f"fw/kws@{digest}"][1])["layers"]


def assert_nothing_under_a_final_name(out: Path) -> None:
    assert not (out / "bundle").exists()
    assert not (out / "files").exists()


def cut_blob(server: FakeRegistry, after: int, times: int) -> list[str]:
    """Answers for the model end after so many bytes, ``times`` times; returns the ranges that were asked for."""
    asked: list[str] = []

    def cutting(handler):
        if digest_of(LARGE)[7:] not in handler.path or handler.command != "GET":
            return False
        asked.append(handler.headers.get("Range", ""))
        if len(asked) > times:
            return False
        start = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(LARGE) - 1}/{len(LARGE)}")
        handler.send_header("Content-Length", str(len(LARGE) - start))
        handler.end_headers()
        handler.wfile.write(LARGE[start : start + after])
        handler.cut()
        return True

    server.before = cutting
    return asked


def serve(server: FakeRegistry, folder: Path) -> str:
    for path in folder.rglob("*"):
        if path.is_file():
            server.files[f"/m/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    return f"http://{server.host}/m"


def flipped(whole: bytes, place: int, bit: int = 0) -> bytes:
    return whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]


def outcome(text: str, out: Path) -> str | int:
    """The digest of what was pulled, or the exit code; nothing stays behind."""
    try:
        return pull_from(text, out).digest
    except EdgegenError as error:
        assert_nothing_under_a_final_name(out)
        return int(error.exit_code)
    finally:
        shutil.rmtree(out, ignore_errors=True)
