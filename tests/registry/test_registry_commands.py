"""What push, pull and inspect print, of folders: no registry is needed."""

from __future__ import annotations

import json
from pathlib import Path

from pushed_bundle import bundle

from support.projects import Ran, edgegen


def run(tmp_path: Path, *arguments: str) -> Ran:
    return edgegen(*arguments, cache=tmp_path / "cache", cwd=tmp_path)


def test_commands_tell_what_they_did(tmp_path: Path) -> None:
    digest = bundle(tmp_path / "b")
    pushed = run(tmp_path, "push", "b", "oci:store/kws")
    assert f"store/kws:0.1.0@{digest}" in pushed.out, pushed.err
    assert "0 were there already" in pushed.out
    pulled = run(tmp_path, "pull", "oci:store/kws:0.1.0")
    assert f"intact: {digest} in kws" in pulled.out, pulled.err
    assert "no signature(s)" in pulled.out
    seen = run(tmp_path, "inspect", "kws").out
    for words in (
        "digits-vae 0.1.0 for raspberrypi4",
        f"core {digest}",
        "10,240  model.onnx",
        "instructions: pass, 123456",
        "latency: not told",
        "data mnist-digits: MIT",
        "no signature",
    ):
        assert words in seen, words


def test_names_that_a_terminal_would_obey_are_shown_harmless(tmp_path: Path) -> None:
    bundle(tmp_path / "b", name="nice\x1b]0;owned\x07\x1b[2J", version="1\x1b[31m")
    shown = run(tmp_path, "inspect", "b")
    pulled = run(tmp_path, "pull", "b", "--out", "out")
    assert "nice?]0;owned??[2J 1?[31m" in shown.out, shown.err
    assert "nice?]0;owned??[2J 1?[31m" in pulled.out, pulled.err
    for ran in (shown, pulled):
        assert "\x1b" not in ran.out + ran.err


def test_slips_are_told_with_their_exit_code(tmp_path: Path) -> None:
    bundle(tmp_path / "b")
    assert run(tmp_path, "push", "b", "kws:1").code == 2
    assert "got 'b' alone" in run(tmp_path, "push", "b").err
    assert run(tmp_path, "push", "nowhere", "oci:store").code == 2
    assert run(tmp_path, "pull", "oci:nowhere:1").code == 2
    assert run(tmp_path, "pull", "b", "--target", "raspberrypi5").code == 5
    assert run(tmp_path, "pull", "oci:b:9").code == 4
    assert run(tmp_path, "inspect", "oci:b:9").code == 4
    assert run(tmp_path, "pull", "127.0.0.1:1/x/y:1", "--ca", "b/files/model.onnx").code == 2


def test_inspect_prints_the_bill_of_materials_in_both_forms(tmp_path: Path) -> None:
    digest = bundle(tmp_path / "b")
    cyclonedx = json.loads(run(tmp_path, "inspect", "b", "--sbom", "cyclonedx").out)
    assert cyclonedx == json.loads((tmp_path / "b/files/sbom.cdx.json").read_text())
    first, again = (run(tmp_path, "inspect", "b", "--sbom", "spdx").out for _ in range(2))
    spdx = json.loads(first)
    assert first == again
    assert (spdx["spdxVersion"], spdx["documentNamespace"]) == ("SPDX-2.3", f"urn:edgegen:bundle:{digest}")
    assert run(tmp_path, "inspect", "b", "--sbom", "spdx", "--json").code == 2
