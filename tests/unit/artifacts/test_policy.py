"""Whom to trust for what: every rule of a policy, broken one by one; and no byte of a signed bundle can be turned."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegen.artifacts.dsse import sealed
from edgegen.artifacts.keys import public_pem
from edgegen.artifacts.policy import check_policy, check_target, check_version, read_policy
from edgegen.artifacts.sign import sign_bundle
from edgegen.artifacts.statement import Moment
from edgegen.artifacts.verify import verify
from edgegen.core.digests import canonical_json, sha256_bytes
from edgegen.core.errors import IntegrityError, UsageError
from unit.artifacts.signed_bundle import MOMENT, SIGNED_ON, copied, signed, signer, trusting, write


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("policy")
    made = signed(root / "out", root / "work", "a", "ec")
    sign_bundle(made, [signer("ec")], moment=MOMENT, with_cosign=True, reference="digits")
    return copied(made, root)


REFUSED: dict[str, tuple[Any, int, str]] = {
    "an unknown key": (trusting("b"), 0, "unknown key"),
    "too few": (trusting("a", "b", threshold=2), 0, "too few"),
    "too old": (trusting("a", max_age=timedelta(days=30)), 31, "too old"),
    "from the future": (trusting("a"), -3, "future"),
    "downgraded": (trusting("a", minimum_version="0.1.1"), 0, "downgraded"),
    "a recipe": (trusting("a", recipes=("float32", "pruned*")), 0, "recipe"),
    "a format": (trusting("a", formats=("litert",)), 0, "format"),
    "a missing verdict": (trusting("a", required_verdicts=("peak_ram",)), 0, "missing verdict"),
    "recalled": (trusting("a", recalled=("DIGEST",)), 0, "recalled"),
    "a lost key": (trusting("a", revoked_keys=(signer("a").public.key_id,)), 0, "revoked"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_broken_rule_refuses_with_its_reason(bundle: Path, name: str) -> None:
    policy, days, reason = REFUSED[name]
    verified = verify(bundle)
    if policy.recalled:
        policy = trusting("a", recalled=(verified.digest,))
    with pytest.raises(IntegrityError, match=reason) as caught:
        check_policy(verified, policy, SIGNED_ON + timedelta(days=days))
    assert caught.value.exit_code == 5


def test_a_bundle_is_checked_without_the_extra(bundle: Path, tmp_path: Path) -> None:
    """Whoever receives a bundle needs nothing that makes signatures."""
    code = f"""
import sys
sys.modules.update(dict.fromkeys(("cryptography", "securesystemslib", "tuf")))
from datetime import UTC, datetime
from pathlib import Path
from edgegen.artifacts.policy import Policy, check_policy, trusted_key
from edgegen.artifacts.verify import verify
policy = Policy(keys=(trusted_key(Path("release.pub")),))
print(*check_policy(verify(Path({str(bundle)!r})), policy, datetime(2026, 12, 1, tzinfo=UTC)).signers)
"""
    for name in ("a", "ec"):
        (tmp_path / "release.pub").write_bytes(public_pem(signer(name).private))
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stdout == "release\n", done.stderr


def test_an_unsigned_bundle_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "out", tmp_path / "work")
    with pytest.raises(IntegrityError, match="unsigned"):
        check_policy(verify(tmp_path / "out/bundle"), trusting("a"), SIGNED_ON)


def test_rules_that_hold_are_told(bundle: Path) -> None:
    rules = {"required_verdicts": ("psnr_db", "latency"), "max_age": timedelta(days=30), "minimum_version": "0.1"}
    trust = check_policy(verify(bundle), trusting("a", "b", **rules), SIGNED_ON + timedelta(days=30))
    assert trust.signers == {"a": signer("a").public.key_id}
    assert trust.unknown == (signer("ec").public.key_id,)
    assert trust.checked[1:] == ("verdict passed: psnr_db", "verdict passed: latency", "version 0.1.0 >= 0.1")


def test_a_key_vouches_for_its_own_targets_alone(bundle: Path, tmp_path: Path) -> None:
    _write_policy(tmp_path, targets=["raspberrypi5", "null"])
    with pytest.raises(IntegrityError, match="wrong device"):
        check_policy(verify(bundle), read_policy(tmp_path / "policy.toml"), SIGNED_ON)
    _write_policy(tmp_path, targets=["raspberrypi*"])
    assert check_policy(verify(bundle), read_policy(tmp_path / "policy.toml"), SIGNED_ON).signers.keys() == {"release"}


def test_an_expired_signature_does_not_count(tmp_path: Path) -> None:
    moment = Moment(signed_on=SIGNED_ON, expires_on=SIGNED_ON + timedelta(days=10))
    made = signed(tmp_path / "out", tmp_path / "work", "a", moment=moment)
    check_policy(verify(made), trusting("a"), SIGNED_ON + timedelta(days=9))
    with pytest.raises(IntegrityError, match="expired on 2026-12-07"):
        check_policy(verify(made), trusting("a"), SIGNED_ON + timedelta(days=10))


def test_the_device_and_the_version_are_judged_without_a_key() -> None:
    check_target("raspberrypi4", "raspberrypi4")
    with pytest.raises(IntegrityError, match="wrong device"):
        check_target("raspberrypi4", "raspberrypi5")
    check_version("1.10.0", "1.9")
    for older in ("1.8.9", "1.9.0-rc.1", "latest"):
        with pytest.raises(IntegrityError, match="downgraded"):
            check_version(older, "1.9")
    with pytest.raises(UsageError):
        check_version("1.0", "new")


def _write_policy(folder: Path, text: str = "", **rule: Any) -> Path:
    (folder / "release.pub").write_bytes(public_pem(signer("a").private))
    key = {"file": "release.pub", **rule}
    lines = [f"{name} = {json.dumps(value)}" for name, value in key.items() if value is not None]
    (folder / "policy.toml").write_text("\n".join(["schema_version = 1", text, "[keys.release]", *lines]))
    return folder / "policy.toml"


@pytest.mark.parametrize(
    ("text", "rule", "words"),
    [
        ("threshold = 2", {}, "more signatures"),
        ("threshold = 0", {}, "threshold"),
        ("max_age_days = 99999999999", {}, "max_age_days"),
        ("treshold = 1", {}, "did you mean"),
        ("minimum_version = 'new'", {}, "least version"),
        ("recalled = ['sha256:1']", {}, "digest"),
        ("revoked_keys = ['1']", {}, "id"),
        ("", {"file": "nowhere.pub"}, "cannot be used"),
        ("", {"file": None}, "file and pem"),
        ("", {"pem": "-----BEGIN PUBLIC KEY-----"}, "file and pem"),
        ("", {"file": None, "pem": "x"}, "cannot be used"),
        ("[keys.twin]\nfile = 'release.pub'", {}, "two names"),
        ("=", {}, "TOML"),
    ],
)
def test_a_policy_that_says_nothing_sensible_is_refused(tmp_path: Path, text: str, rule: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_policy(_write_policy(tmp_path, text, **rule))
    with pytest.raises(UsageError):
        read_policy(tmp_path / "absent.toml")


# -- forgeries: everything consistent but the signature ----------------------------------------------------------------


def _resealed(bundle: Path, to: Path, name: str, data: bytes) -> Path:
    """The bundle with another file in the first signature artifact, all digests following."""
    forged = copied(bundle, to)
    blobs, index = forged / "blobs/sha256", json.loads((forged / "index.json").read_bytes())
    entry = next(item for item in index["manifests"] if "-signature-" in str(item["annotations"]))
    manifest = json.loads((blobs / entry["digest"].removeprefix("sha256:")).read_bytes())
    layer = next(item for item in manifest["layers"] if name in str(item["annotations"]))
    (blobs / layer["digest"].removeprefix("sha256:")).unlink()
    _rename(blobs, layer, data)
    (blobs / entry["digest"].removeprefix("sha256:")).unlink()
    _rename(blobs, entry, canonical_json(manifest))
    (forged / "index.json").write_bytes(canonical_json(index))
    return forged


def _rename(blobs: Path, descriptor: dict[str, Any], content: bytes) -> None:
    descriptor.update(digest=f"sha256:{sha256_bytes(content)}", size=len(content))
    (blobs / sha256_bytes(content)).write_bytes(content)


def _envelope(bundle: Path, name: str) -> dict[str, Any]:
    names = {"core.dsse.json": 0, "evidence.dsse.json": 1}
    index = json.loads((bundle / "index.json").read_bytes())
    entry = next(item for item in index["manifests"] if "-signature-" in str(item["annotations"]))
    manifest = json.loads((bundle / "blobs/sha256" / entry["digest"].removeprefix("sha256:")).read_bytes())
    digest = manifest["layers"][names[name]]["digest"].removeprefix("sha256:")
    return dict(json.loads((bundle / "blobs/sha256" / digest).read_bytes()))


@pytest.mark.parametrize("name", ["core.dsse.json", "evidence.dsse.json"])
def test_a_signature_by_another_under_a_trusted_id_is_tampered(bundle: Path, tmp_path: Path, name: str) -> None:
    whole = _envelope(bundle, name)
    other = "b" if name == "core.dsse.json" else "c"
    document = json.loads(base64.b64decode(whole["payload"]))
    forged = json.loads(sealed(document, [signer(other)]))
    forged["signatures"][0]["keyid"] = whole["signatures"][0]["keyid"]
    verified = verify(_resealed(bundle, tmp_path, name, canonical_json(forged)))
    for policy in (trusting("a", "ec"), trusting("a", "ec", threshold=2)):
        with pytest.raises(IntegrityError, match="tampered"):
            check_policy(verified, policy, SIGNED_ON)


def test_another_summary_of_the_verdicts_needs_another_signature(tmp_path: Path) -> None:
    made = signed(tmp_path / "out", tmp_path / "work", "a")
    whole = _envelope(made, "core.dsse.json")
    document = json.loads(base64.b64decode(whole["payload"]))
    document["predicate"]["edgegen_verdicts"] = []
    tampered = {**whole, "payload": base64.b64encode(canonical_json(document)).decode()}
    forged = _resealed(made, tmp_path, "core.dsse.json", canonical_json(tampered))
    with pytest.raises(IntegrityError):
        check_policy(verify(forged), trusting("a"), SIGNED_ON)


@pytest.mark.parametrize("part", ["evidence", "training"])
def test_a_part_of_another_bundle_is_refused(bundle: Path, tmp_path: Path, part: str) -> None:
    """The core's own evidence and training, made again: consistent, about the core, and not what was signed."""
    made = copied(bundle, tmp_path)
    blobs, index = made / "blobs/sha256", json.loads((made / "index.json").read_bytes())
    entry = next(item for item in index["manifests"] if f".{part}.v1" in item.get("artifactType", ""))
    manifest = json.loads((blobs / entry["digest"].removeprefix("sha256:")).read_bytes())
    (blobs / entry["digest"].removeprefix("sha256:")).unlink()
    content = canonical_json({**manifest, "annotations": {"another": "one"}})
    entry.update(digest=f"sha256:{sha256_bytes(content)}", size=len(content))
    (blobs / sha256_bytes(content)).write_bytes(content)
    (made / "index.json").write_bytes(canonical_json(index))
    with pytest.raises(IntegrityError, match="about this bundle"):
        verify(made)


def test_parts_may_be_left_away(bundle: Path, tmp_path: Path) -> None:
    """A device needs neither evidence nor training; what was said of the core still counts."""
    made = copied(bundle, tmp_path)
    blobs, index = made / "blobs/sha256", json.loads((made / "index.json").read_bytes())
    kept = [item for item in index["manifests"] if not any(w in str(item) for w in (".evidence.", ".training."))]
    (made / "index.json").write_bytes(canonical_json({**index, "manifests": kept}))
    named = set()
    for item in kept:
        manifest = json.loads((blobs / item["digest"].removeprefix("sha256:")).read_bytes())
        named |= {part["digest"].removeprefix("sha256:") for part in (item, manifest["config"], *manifest["layers"])}
    for path in blobs.iterdir():
        if path.name not in named:
            path.unlink()
    assert check_policy(verify(made), trusting("a", required_verdicts=("latency",)), SIGNED_ON).signers.keys() == {"a"}


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(data=st.data())
def test_any_turned_byte_is_refused_or_changes_nothing_that_was_signed(bundle: Path, data: Any) -> None:
    """Over every file of a signed bundle: index, manifests, blobs, envelopes, cosign's image."""
    digest = verify_cached(bundle)
    files = sorted(path for path in bundle.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    turned = data.draw(st.integers(1, 255))
    path.write_bytes(whole[:place] + bytes([whole[place] ^ turned]) + whole[place + 1 :])
    try:
        verified = verify(bundle)
        trust = check_policy(verified, trusting("a", "ec", threshold=2), SIGNED_ON)
        assert (verified.digest, len(trust.signers)) == (digest, 2)
    except IntegrityError:
        pass  # what most of them come to
    finally:
        path.write_bytes(whole)


_DIGESTS: dict[Path, str] = {}


def verify_cached(bundle: Path) -> str:
    if bundle not in _DIGESTS:
        _DIGESTS[bundle] = verify(bundle).digest
    return _DIGESTS[bundle]


def test_what_the_index_says_of_the_signatures_is_looked_at(bundle: Path, tmp_path: Path) -> None:
    """Every third place of the index, one turned bit each."""
    made = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    digest = verify(made).digest
    whole = (made / "index.json").read_bytes()
    accepted = 0
    for place in range(0, len(whole), 3):
        (made / "index.json").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            verified = verify(made)
            check_policy(verified, trusting("a", "ec", threshold=2), SIGNED_ON)
        except IntegrityError:
            continue
        assert verified.digest == digest
        accepted += 1
    assert accepted < len(whole) / 6  # a tag's last letters, say
