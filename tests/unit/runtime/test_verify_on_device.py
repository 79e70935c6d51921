"""``python -m edgegen_runtime verify``: what a board takes and what it refuses, with stdlib and numpy alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegen.artifacts.statement import Moment
from edgegen_runtime.admission import Rules, admit
from edgegen_runtime.sealed_bundle import read_bundle
from edgegen_runtime.self_test import compare, self_test
from edgegen_runtime.strict import RefusedError
from unit.artifacts.signed_bundle import SIGNED_ON, copied, signer
from unit.runtime.runnable_bundle import TARGET, board, runnable, write_public


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two versions; 1.0.0 is signed by an Ed25519 and a P-256 key."""
    root = tmp_path_factory.mktemp("boards")
    runnable(root, "1.0.0", "a", "ec")
    runnable(root, "0.9.0", "a")
    return root


def rules(*names: str, threshold: int = 1, target: str | None = TARGET, days: int | None = None) -> Rules:
    age = None if days is None else timedelta(days=days)
    keys = tuple(signer(name).public for name in names)
    return Rules(keys=keys, threshold=threshold, target=target, max_age=age)


@pytest.mark.parametrize("without", [(), ("cryptography", "edgegen", "torch", "onnx")])
@pytest.mark.parametrize("name", ["a", "ec"])
def test_a_board_verifies_and_tests_itself(place: Path, tmp_path: Path, name: str, without: tuple[str, ...]) -> None:
    keys = write_public(tmp_path, name)
    options = [*keys, "--target", TARGET, "--state", "state", "--self-test"]
    done = board("verify", str(place / "1.0.0"), *options, cwd=tmp_path, without=without)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["signed_by"] == [signer(name).public.key_id]
    assert report["self_test"]["samples"] == 8
    assert report["self_test"]["largest_difference"]["image"] < 1e-4
    assert Path(report["files"]["model.onnx"]).is_file()
    older = board("verify", str(place / "0.9.0"), *write_public(tmp_path, "a"), "--state", "state", cwd=tmp_path)
    assert older.returncode == 6
    assert "downgraded: version 0.9.0 is older than 1.0.0" in older.stderr


def test_a_refusal_is_one_line_and_leaves_the_state(place: Path, tmp_path: Path) -> None:
    keys = write_public(tmp_path, "other")
    done = board("verify", str(place / "1.0.0/bundle"), *keys, "--state", "state", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (6, "", 1)
    assert "unknown key" in done.stderr
    assert not (tmp_path / "state").exists()


def test_a_damaged_state_is_not_taken_for_a_fresh_one(place: Path, tmp_path: Path) -> None:
    keys = write_public(tmp_path, "a")
    arguments = ("verify", str(place / "1.0.0"), *keys, "--state", "state")
    assert board(*arguments, cwd=tmp_path).returncode == 0
    whole = (tmp_path / "state").read_bytes()
    for spoilt in (whole[:-2], b"", whole.replace(b"1.0.0", b"0.0.0")):
        (tmp_path / "state").write_bytes(spoilt)
        done = board(*arguments, cwd=tmp_path)
        assert (done.returncode, "checksum" in done.stderr) == (6, True)


def test_a_board_without_a_runtime_says_so(place: Path, tmp_path: Path) -> None:
    keys = write_public(tmp_path, "a")
    done = board("verify", str(place / "1.0.0"), *keys, "--self-test", cwd=tmp_path, without=("onnxruntime",))
    assert done.returncode == 4, done.stderr


def test_a_board_without_numpy_verifies_and_says_what_it_cannot(place: Path, tmp_path: Path) -> None:
    options = ["verify", str(place / "1.0.0"), *write_public(tmp_path, "a"), "--state", "state"]
    without = ("numpy", "cryptography")
    done = board(*options, cwd=tmp_path, without=without)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["signed_by"] == [signer("a").public.key_id]
    for asked in ((*options, "--self-test"), ("self-test", str(place / "1.0.0"))):
        done = board(*asked, cwd=tmp_path, without=without)
        assert (done.returncode, "numpy" in done.stderr, done.stderr.count("\n")) == (4, True, 1), done.stderr


@pytest.mark.parametrize("closed", ["> /dev/full", ">&-"])
def test_an_answer_that_cannot_be_written_is_told_in_one_line(place: Path, tmp_path: Path, closed: str) -> None:
    command = [sys.executable, "-m", "edgegen_runtime", "verify", str(place / "1.0.0"), *write_public(tmp_path, "a")]
    shell = ["sh", "-c", f'"$@" {closed}', "sh", *command]
    done = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (5, 1), done.stderr


def test_wrong_options_are_refused(place: Path, tmp_path: Path) -> None:
    keys = write_public(tmp_path, "a")
    assert board("verify", str(place / "1.0.0"), cwd=tmp_path).returncode == 2
    for wrong in (("--threshold", "2"), ("--threshold", "0"), ("--max-age-days", "-1"), ("--max-age-days", "9" * 11)):
        done = board("verify", str(place / "1.0.0"), *keys, *wrong, cwd=tmp_path)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert board("verify", str(tmp_path / "nowhere"), *keys, cwd=tmp_path).returncode == 6
    (tmp_path / "no.pub").write_text("no key")
    for name in ("no.pub", "absent.pub"):
        done = board("verify", str(place / "1.0.0"), "--key", name, cwd=tmp_path)
        assert (done.returncode, name in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("wanted", "minimum", "days", "words"),
    [
        (rules("b"), None, 0, "unknown key"),
        (rules("a", "b", threshold=2), None, 0, "too few"),
        (rules("a", target="raspberrypi5"), None, 0, "wrong device"),
        (rules("a"), "1.0.1", 0, "downgraded"),
        (rules("a", days=30), None, 31, "too old"),
        (rules("a"), None, -2, "future"),
    ],
)
def test_admit_refuses_with_its_reason(place: Path, wanted: Rules, minimum: str | None, days: int, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        admit(read_bundle(place / "1.0.0/bundle"), wanted, minimum, SIGNED_ON + timedelta(days=days))


def test_admit_judges_no_date_without_a_clock(place: Path, tmp_path: Path) -> None:
    ended = Moment(signed_on=SIGNED_ON, expires_on=SIGNED_ON + timedelta(days=1))
    bundle = read_bundle(runnable(tmp_path, "1.0.0", "a", moment=ended))
    with pytest.raises(RefusedError, match="expired"):
        admit(bundle, rules("a"), None, SIGNED_ON + timedelta(days=2))
    assert admit(bundle, rules("a", days=1), None, None) == (signer("a").public.key_id,)


def test_admit_counts_every_trusted_key(place: Path) -> None:
    bundle = read_bundle(place / "1.0.0/bundle")
    found = admit(bundle, rules("a", "ec", "b", threshold=2), "1.0.0", SIGNED_ON)
    assert found == tuple(sorted(signer(name).public.key_id for name in ("a", "ec")))


def test_admit_refuses_the_unsigned(tmp_path: Path, place: Path) -> None:
    made = copied(place / "0.9.0/bundle", tmp_path)
    index = json.loads((made / "index.json").read_bytes())
    index["manifests"] = [item for item in index["manifests"] if "signature" not in str(item["annotations"])]
    (made / "index.json").write_text(json.dumps(index))
    with pytest.raises(RefusedError, match="unsigned"):
        admit(read_bundle(made), rules("a"), None, SIGNED_ON)


def test_self_test_finds_outputs_that_are_off(tmp_path: Path) -> None:
    assert self_test(read_bundle(runnable(tmp_path, "1.0.0", "a", wrong_by=9e-5))).samples == 8
    with pytest.raises(RefusedError, match="self-test failed: image is"):
        self_test(read_bundle(runnable(tmp_path, "1.0.1", "a", wrong_by=2e-4)))


def test_compare_refuses_other_forms_and_what_is_no_number() -> None:
    one = {"x": np.zeros((2, 2), np.float32)}
    assert compare(one, one, {"x": 0.0}) == {"x": 0.0}
    for found in ({}, {"y": one["x"]}, {"x": np.zeros((2, 3), np.float32)}, {"x": np.full((2, 2), np.nan, np.float32)}):
        with pytest.raises(RefusedError, match="self-test failed"):
            compare(one, found, {"x": 1.0})


@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_turned_byte_is_refused_or_changes_nothing_that_was_signed(place: Path, data: st.DataObject) -> None:
    bundle = place / "1.0.0/bundle"
    digest = read_bundle(bundle).digest
    path = data.draw(st.sampled_from(sorted(path for path in bundle.rglob("*") if path.is_file())))
    whole = path.read_bytes()
    at, turned = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(1, 255))
    path.write_bytes(whole[:at] + bytes([whole[at] ^ turned]) + whole[at + 1 :])
    try:
        found = read_bundle(bundle)
        admit(found, rules("a", "ec", threshold=2), None, SIGNED_ON)
        assert found.digest == digest
    except RefusedError:
        pass
    finally:
        path.write_bytes(whole)


def _without(bundle: Path, name: str) -> None:
    (bundle / name).unlink()


def _linked(bundle: Path, name: str) -> None:
    (bundle / name).rename(bundle.parent / "elsewhere")
    (bundle / name).symlink_to(bundle.parent / "elsewhere")


@pytest.mark.parametrize("harm", [_without, _linked])
def test_a_missing_or_linked_file_is_refused(place: Path, tmp_path: Path, harm: object) -> None:
    whole = place / "1.0.0/bundle"
    assert callable(harm)
    for path in sorted(path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file()):
        made = copied(whole, tmp_path)
        harm(made, path)
        with pytest.raises(RefusedError):
            read_bundle(made)
        shutil.rmtree(made)


HOSTILE = {
    "no core": lambda index: index["manifests"].clear(),
    "two cores": lambda index: index["manifests"].extend(
        [item for item in index["manifests"] if ".bundle." in item["artifactType"]]
    ),
    "a thousand artifacts": lambda index: index["manifests"].extend([{"artifactType": "x"}] * 1000),
    "artifacts that are no tables": lambda index: index["manifests"].append("x"),
    "a digest with a path trick": lambda index: index["manifests"][0].update(digest="sha256:../../../etc/passwd"),
    "a huge manifest": lambda index: index["manifests"][0].update(size=2**62),
    "a size that is true": lambda index: index["manifests"][0].update(size=True),
    "no list": lambda index: index.update(manifests={}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_index_is_refused(place: Path, tmp_path: Path, name: str) -> None:
    made = copied(place / "0.9.0/bundle", tmp_path)
    index = json.loads((made / "index.json").read_bytes())
    HOSTILE[name](index)
    (made / "index.json").write_text(json.dumps(index))
    with pytest.raises(RefusedError):
        read_bundle(made)
