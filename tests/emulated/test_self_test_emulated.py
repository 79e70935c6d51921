"""A microcontroller's bundle tests itself on its emulated board: every byte of every output, or it is refused."""

from __future__ import annotations

from pathlib import Path

from emulated_presence import TOOLS_CACHE, absent

from support.projects import Ran, edgegen
from unit.artifacts.c_bundle import write_c


def self_tested(bundle: Path) -> Ran:
    done = edgegen("verify", str(bundle), "--self-test", "--json", cache=TOOLS_CACHE, cwd=bundle)
    if done.code == 4:
        absent(done.err)
    return done


def test_bundle_of_c_sources_holds_on_its_own_emulated_core(tmp_path: Path) -> None:
    write_c(tmp_path / "b", target="mps2-an385")
    done = self_tested(tmp_path / "b")
    assert done.code == 0, done.err
    tested = done.document["self_test"]
    assert (tested["core"], tested["samples"]) == ("cortex-m3", 8)
    assert tested["outputs"] == [{"output": "y", "apart": 0.0, "tolerance": 0.0}]


def test_sources_for_another_instruction_set_are_found_out(tmp_path: Path) -> None:
    """Every byte is what was signed, but this core's kernels read weights in another order than plain C's."""
    write_c(tmp_path / "b", target="mps2-an386")
    done = self_tested(tmp_path / "b")
    assert (done.code, "self-test failed" in done.err) == (5, True), done.err
