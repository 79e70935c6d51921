"""One flipped bit in any file of a signed artifact: refused, or it leads to the same verified manifest digest.

The positions are drawn, so that every file is damaged at several: as the layout lies in a folder, as a folder or a web
server is pulled from, and as a registry serves it. A layout that holds in spite of it is held against a policy too.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from pushed_bundle import push_to
from served_bundle import MANIFEST_TYPE, address, flipped, outcome, serve
from signed_bundle import MOMENT, SIGNED_ON, signed, signer, trusting

from edgegen.artifacts.policy import check_policy
from edgegen.artifacts.sign import sign_bundle
from edgegen.artifacts.verify import verify
from edgegen.core.errors import EdgegenError, IntegrityError
from support.fake_registry import INDEX_TYPE, FakeRegistry, digest_of

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A build's folder with core, evidence, training, two signatures and cosign's form of one; the core's digest."""
    root = tmp_path_factory.mktemp("flipped")
    bundle = signed(root / "b", root / "work", "a", "ec-b")
    sign_bundle(bundle, [signer("ec-b")], moment=MOMENT, with_cosign=True)
    return root / "b", verify(bundle).digest


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def judged(bundle: Path) -> str | int:
    """The digest of a bundle that a policy of both signers takes, or the exit code."""
    try:
        verified = verify(bundle)
        check_policy(verified, trusting("a", "ec-b", threshold=2), SIGNED_ON)
    except EdgegenError as error:
        return int(error.exit_code)
    return verified.digest


def flip_in_the_layout(made: tuple[Path, str], work: Path, times: int) -> dict[str | int, int]:
    whole, digest = made
    bundle = Path(shutil.copytree(whole / "bundle", work / "bundle"))
    dice, outcomes = random.Random(8), dict[str | int, int]()
    assert judged(bundle) == digest
    for path in files_of(bundle):
        data = path.read_bytes()
        for _ in range(times):
            path.write_bytes(flipped(data, dice.randrange(len(data)), dice.randrange(8)))
            found = judged(bundle)
            assert found in (digest, 5), (path, found)
            outcomes[found] = outcomes.get(found, 0) + 1
        path.write_bytes(data)
    assert judged(bundle) == digest
    return outcomes


def flip_in_a_place(made: tuple[Path, str], work: Path, server: FakeRegistry, times: int) -> dict[str | int, int]:
    """The same of pulls from a folder and a web server."""
    whole, digest = made
    bundle = Path(shutil.copytree(whole / "bundle", work / "bundle"))
    place, dice, outcomes = serve(server, bundle), random.Random(9), dict[str | int, int]()
    for path in files_of(bundle):
        data, name = path.read_bytes(), f"/m/{path.relative_to(bundle).as_posix()}"
        for text in [f"{place}:0.1.0", f"oci:{bundle}:0.1.0"] * times:
            server.files[name] = flipped(data, dice.randrange(len(data)), dice.randrange(8))
            path.write_bytes(server.files[name])
            found = outcome(text, work / "out")
            assert found in (digest, 4, 5), (text, path, found)
            outcomes[found] = outcomes.get(found, 0) + 1
        path.write_bytes(data)
        server.files[name] = data
    return outcomes


def flip_in_a_registry(made: tuple[Path, str], work: Path, server: FakeRegistry, times: int) -> dict[str | int, int]:
    """As a damaged store serves it: the digest that the registry tells is the one that it has on record."""
    whole, digest = made
    push_to(address(server), whole)
    dice, outcomes = random.Random(10), dict[str | int, int]()

    def judge(what: str) -> None:
        found = outcome(address(server), work / "out")
        assert found in (digest, 4, 5), (what, found)
        outcomes[found] = outcomes.get(found, 0) + 1

    for name, (media, data) in list(server.manifests.items()):
        path = "/v2/fw/kws/manifests/" + name.removeprefix("fw/kws").lstrip(":@")
        for _ in range(times):
            damaged = flipped(data, dice.randrange(len(data)), dice.randrange(8))
            server.before = _answering(path, media, damaged, digest_of(data))
            judge(name)
    server.before = lambda handler: False
    for name, data in list(server.blobs.items()):
        for _ in range(times):
            server.blobs[name] = flipped(data, dice.randrange(len(data)), dice.randrange(8))
            judge(name)
        server.blobs[name] = data
    assert outcome(address(server), work / "out") == digest
    return outcomes


def _answering(path: str, media: str, data: bytes, told: str):
    def answer(handler) -> bool:
        if handler.path != path:
            return False
        handler.answer(200, data, Content_Type=media, Docker_Content_Digest=told)
        return True

    return answer


def test_flipped_bit_in_any_file_of_a_layout_is_refused_or_the_digest_stays(made, tmp_path: Path) -> None:
    outcomes = flip_in_the_layout(made, tmp_path, 6)
    assert outcomes[5] > 0.95 * sum(outcomes.values())


def test_flipped_bit_in_any_file_of_a_folder_or_web_server_is_refused_or_the_digest_stays(
    made, tmp_path: Path, server: FakeRegistry
) -> None:
    outcomes = flip_in_a_place(made, tmp_path, server, 2)
    assert outcomes[5] > 0.8 * sum(outcomes.values())


def test_flipped_bit_in_any_file_of_a_registry_is_refused_or_the_digest_stays(
    made, tmp_path: Path, server: FakeRegistry
) -> None:
    outcomes = flip_in_a_registry(made, tmp_path, server, 2)
    assert outcomes[5] > 0.8 * sum(outcomes.values())


@pytest.mark.long
def test_fifty_flipped_bits_in_any_file_are_refused_or_the_digest_stays(
    made, tmp_path: Path, server: FakeRegistry
) -> None:
    every: dict[str | int, int] = {}
    (tmp_path / "place").mkdir()
    for outcomes in (
        flip_in_the_layout(made, tmp_path, 50),
        flip_in_a_registry(made, tmp_path, server, 25),
        flip_in_a_place(made, tmp_path / "place", server, 12),
    ):
        every = {key: every.get(key, 0) + outcomes.get(key, 0) for key in every | outcomes}
    print(every)
    assert every[5] > 0.8 * sum(every.values())


def test_older_version_under_the_tag_is_refused_by_who_knows_a_newer(
    made, tmp_path: Path, server: FakeRegistry
) -> None:
    """A registry may replay what was signed once: it holds, and a policy's least version refuses it."""
    whole, _ = made
    newer = signed(tmp_path / "newer", tmp_path / "work", "a", version="0.2.0")
    for out in (whole, newer.parent):
        push_to(address(server, ":stable"), out)
    push_to(address(server, ":stable"), whole)
    assert isinstance(outcome(address(server, ":stable"), tmp_path / "out"), str)
    with pytest.raises(IntegrityError, match="downgraded"):
        check_policy(verify(whole / "bundle"), trusting("a", minimum_version="0.2.0"), SIGNED_ON)
    check_policy(verify(newer), trusting("a", minimum_version="0.2.0"), SIGNED_ON)


def test_media_types_of_the_registry_are_not_believed(made, tmp_path: Path, server: FakeRegistry) -> None:
    """An index that is served as a manifest and the other way round are told by their bytes."""
    whole, digest = made
    push_to(address(server), whole)
    for name, (media, data) in list(server.manifests.items()):
        server.manifests[name] = ({MANIFEST_TYPE: INDEX_TYPE, INDEX_TYPE: MANIFEST_TYPE}[media], data)
    assert outcome(address(server), tmp_path / "out") == digest
