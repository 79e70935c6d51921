"""Channels from end to end by the commands: a registry with TLS and password, a folder, a plain web server."""

from __future__ import annotations

import functools
import http.server
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pushed_bundle import ACCESS, bundle

from edgegen.artifacts.keys import public_pem
from edgegen.artifacts.registry_reference import parse_reference
from edgegen.artifacts.release_artifact import RELEASES_TAG
from edgegen.artifacts.release_channels import add
from edgegen.artifacts.release_place import Trusting, trusted_listing
from edgegen.artifacts.release_publish import fetch_from, publish_into
from edgegen.artifacts.release_records import Release
from edgegen.artifacts.release_roles import Releases
from edgegen.artifacts.sign import moment_of_signing
from edgegen.artifacts.transfer_places import source_of
from edgegen.artifacts.verify import verify
from edgegen.core.errors import EdgegenError
from support.cutting import cuttable_way
from support.projects import Ran, command, edgegen, environment
from support.registries import Server, program
from unit.artifacts.release_fleet import trusted
from unit.artifacts.signed_bundle import signer, write

CALM = replace(ACCESS, patience=replace(ACCESS.patience, settle_s=(0.05, 0.2), window_s=10, answer_s=30))
ROOTS = ("--root-key", "r1.key", "--root-key", "r2.key")


class Desk:
    """Where somebody signs, and machines that pull."""

    def __init__(self, folder: Path, **more: str) -> None:
        self.folder = folder
        self._more = more

    def run(self, *arguments: str, machine: str = "here", code: int = 0) -> Ran:
        home = self.folder / machine
        home.mkdir(exist_ok=True)
        ran = edgegen(
            *arguments, cache=home / "cache", cwd=self.folder, HOME=str(home), EDGEGEN_STATE=str(home), **self._more
        )
        assert ran.code == code, (arguments, ran.out, ran.err)
        return ran

    def keys(self, *names: str) -> None:
        for name in names:
            private = signer(name).private
            pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            (self.folder / f"{name}.key").write_bytes(pem)
            (self.folder / f"{name}.pub").write_bytes(public_pem(private))

    def bundle(self, version: str, target: str = "raspberrypi4") -> str:
        """A signed bundle in a folder called after its version; returns its digest."""
        return write(self.folder / version, self.folder / "work", version=version, target=target)

    def begin(self, place: str, *access: str) -> None:
        """Releases in which nothing is released, and the first version in the place."""
        self.keys("r1", "r2", "t", "o", "pi")
        releases = Releases(self.folder / "updates", moment_of_signing(None).signed_on)
        releases.begin([signer("r1"), signer("r2")], 2, signer("t"), signer("o"))
        releases.delegate("pi", [trusted("pi")], ["raspberrypi*"], signer("t"))
        self.push("1.0.0", place, *access)

    def push(self, version: str, place: str, *access: str) -> None:
        self.run("push", version, f"{place}:{version}", *access)

    def add(self, version: str, channel: str) -> None:
        self.run("release", "add", "updates", "pi", version, "--channel", channel, "--key", "pi.key")

    def publish(self, place: str, *access: str, key: str = "o.key", code: int = 0) -> Ran:
        return self.run("release", "publish", "updates", "--key", key, "--push", place, *access, code=code)


ROOT = ("--root", "updates/metadata/1.root.json")


def test_channels_in_a_registry_with_tls_and_password(locked_up: Server, tmp_path: Path) -> None:
    desk = Desk(tmp_path, **locked_up.login(tmp_path / "docker"))
    place, ca = f"{locked_up.host}/fw/channels", ("--ca", str(locked_up.ca))
    first, second = desk.bundle("1.0.0"), desk.bundle("1.1.0")
    desk.keys("vendor")
    desk.run("sign", "1.1.0", "--key", "vendor.key")
    desk.begin(place, *ca)
    desk.push("1.1.0", place, *ca)
    desk.add("1.0.0", "stable")
    desk.add("1.1.0", "canary")
    desk.publish(place, *ca)
    pull = ("pull", f"{place}:stable", *ca, "--target", "raspberrypi5", "--out", "got", "--json")
    assert "--root" in desk.run(*pull, machine="device", code=2).err
    got = desk.run(*pull, *ROOT, machine="device").document
    assert (got["digest"], got["channel"], got["passed"]) == (first, "stable", [])
    find = ("release", "find", f"{place}:canary", *ca, "--target", "raspberrypi4", "--name", "digits-vae", "--json")
    assert desk.run(*find, machine="device").document["digest"] == second  # trusting what pull was told to
    signed = ("--key", "vendor.pub")
    assert "unsigned" in desk.run(*pull, *signed, machine="device", code=5).err

    desk.run("release", "promote", "updates", "pi", "--key", "pi.key")
    desk.publish(place, *ca)
    got = desk.run(*pull, *signed, machine="device").document
    assert (got["digest"], list(got["signed_by"])) == (second, ["vendor"])
    # What was pulled from a channel is what a device checks by itself.
    device = ("-m", "edgegen_runtime", "verify", "got", "--key", "vendor.pub", "--target", "raspberrypi4")
    subprocess.run([sys.executable, *device], cwd=tmp_path, env=environment(tmp_path), check=True, timeout=60)
    seen = desk.run("inspect", place, *ca, machine="device").out
    assert f"stable, raspberrypi4: digits-vae 1.1.0 {second}" in seen
    assert "signed by whom you trust" in seen
    assert "not checked" in desk.run("inspect", place, *ca, machine="stranger").out

    desk.run(
        "release", "recall", "updates", "pi", second, "--reason", "wrong scale", "--instead", "1.0.0", "--key", "pi.key"
    )
    desk.publish(place, *ca)
    assert "downgraded" in desk.run(*pull, machine="device", code=5).err
    assert desk.run(*pull, *ROOT, machine="new").document["digest"] == first
    recalled = desk.run("verify", "1.1.0", "--releases", place, *ca, machine="new", code=5).err
    assert "recalled: digits-vae 1.1.0 for raspberrypi4 was taken back: wrong scale" in recalled
    assert "current in canary, stable" in desk.run("verify", "1.0.0", "--releases", place, *ca, machine="new").out
    shown = desk.run("inspect", f"{place}@{second}", *ca, "--json", machine="new").document["releases"]
    assert (shown["is_recalled"], shown["checked"]) == (True, True)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A plain web server over a folder, which knows GET alone."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *given: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_channels_in_a_folder_that_a_web_server_serves(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    digest = desk.bundle("1.0.0")
    desk.begin("oci:public/kws")
    desk.add("1.0.0", "stable")
    desk.publish("oci:public/kws")
    listed = desk.run("release", "list", "updates", "--json").document
    assert [item["digest"] for item in listed["channels"]] == [digest]
    with served(tmp_path / "public") as address:
        asked = ("pull", f"{address}/kws:stable", "--target", "raspberrypi4", "--out", "web", *ROOT)
        told = desk.run(*asked, machine="device").out
        assert "channel stable: digits-vae 1.0.0 for raspberrypi4" in told
        assert verify(tmp_path / "web" / "bundle").digest == digest
    desk.run("release", "fetch", "other", "oci:public/kws", *ROOT)
    desk.run("release", "promote", "other", "pi", "--from", "stable", "--to", "beta", "--key", "pi.key")
    assert "beta, raspberrypi4: digits-vae 1.0.0" in desk.run("release", "list", "other").out
    shown = desk.run("inspect", "oci:public/kws:stable", "--json", machine="stranger").document
    assert (shown["bundle"]["digest"], shown["releases"]["checked"]) == (digest, False)
    assert shown["releases"]["current_in"] == ["stable"]


def test_lost_keys_are_replaced_by_commands(tmp_path: Path) -> None:
    """Every key is lost but one of the root's: the road back, and devices that follow it."""
    desk = Desk(tmp_path)
    digest = desk.bundle("1.0.0")
    place, pull = "oci:kws", ("pull", "oci:kws:stable", "--target", "raspberrypi4", "--out", "got", "--json")
    desk.begin(place)
    desk.add("1.0.0", "stable")
    desk.publish(place)
    desk.run(*pull, *ROOT, machine="device")
    desk.keys("r3", "o2", "t2", "pi2")
    three = (*ROOTS, "--root-key", "r3.key")
    desk.run("release", "rekey", "updates", "root", "--pub", "r1.pub", "--pub", "r3.pub", "--threshold", "2", *three)
    left = ("--root-key", "r1.key", "--root-key", "r3.key")
    for role in ("snapshot", "timestamp"):
        desk.run("release", "rekey", "updates", role, "--pub", "o2.pub", *left)
    desk.run("release", "rekey", "updates", "targets", "--pub", "t2.pub", *left)
    desk.run("release", "renew", "updates", "targets", "--key", "t2.key")
    family = ("release", "delegate", "updates", "pi", "--pub", "pi2.pub", "--targets", "raspberrypi*")
    desk.run(*family, "--key", "t.key", code=2)
    desk.run(*family, "--key", "t2.key")
    assert "release renew" in desk.publish(place, key="o2.key", code=2).err
    desk.run("release", "renew", "updates", "pi", "--key", "pi2.key")
    desk.publish(place, key="o.key", code=2)
    desk.publish(place, key="o2.key")
    assert desk.run(*pull, machine="device").document["digest"] == digest
    # The key that signed bundles is lost too: its id is in the policy, and what is in use was signed by another first.
    desk.keys("vendor", "vendor2")
    desk.run("sign", "1.0.0", "--key", "vendor.key")
    (tmp_path / "policy.toml").write_text(
        f'schema_version = 1\nrevoked_keys = ["{signer("vendor").public.key_id}"]\n'
        '[keys.old]\nfile = "vendor.pub"\n[keys.new]\nfile = "vendor2.pub"\n'
    )
    desk.push("1.0.0", place)
    asked = (*pull, "--policy", "policy.toml")
    assert "revoked key" in desk.run(*asked, machine="device", code=5).err
    desk.run("sign", "1.0.0", "--key", "vendor2.key")
    desk.push("1.0.0", place)
    assert list(desk.run(*asked, machine="device").document["signed_by"]) == ["new"]


def current(place: str, tmp_path: Path, root: Path) -> dict[str, str]:
    with source_of(parse_reference(place), CALM) as source:
        listing = trusted_listing(source, Trusting(state=tmp_path / "state", root=root), CALM.patience)
    return {item.target: item.version for item in listing.statements if isinstance(item, Release)}


def begun(folder: Path, place: str) -> Releases:
    """Releases that four families may add to, in the place."""
    releases = Releases(folder, moment_of_signing(None).signed_on)
    releases.begin([signer("r1")], 1, signer("t"), signer("o"))
    for number in range(4):
        releases.delegate(f"f{number}", [trusted(f"f{number}")], [f"board{number}"], signer("t"))
    publish_into(releases, [signer("o")], parse_reference(place), CALM)
    return releases


def test_mirror_made_by_skopeo_has_the_channels_too(plain: Server, tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    digest, place = desk.bundle("1.0.0"), f"{plain.host}/fw/original"
    desk.begin(place)
    desk.add("1.0.0", "stable")
    desk.publish(place)
    for tag in ("1.0.0", RELEASES_TAG):
        copy = (program("skopeo"), "--insecure-policy", "copy", "-q", "--src-tls-verify=false")
        subprocess.run([*copy, f"docker://{place}:{tag}", f"oci:{tmp_path}/mirror:{tag}"], check=True, timeout=60)
    pull = ("pull", "oci:mirror:stable", "--target", "raspberrypi4", "--out", "got", "--json", *ROOT)
    assert desk.run(*pull, machine="device").document["digest"] == digest


def test_four_who_publish_at_once_all_get_through(plain: Server, tmp_path: Path) -> None:
    place = f"{plain.host}/fw/crowd"
    first = begun(tmp_path / "f", place)
    root = first.folder / "metadata/1.root.json"
    people, failures, start = list[Releases](), list[EdgegenError](), threading.Barrier(4)
    for number in range(4):
        write(tmp_path / f"b{number}", tmp_path / "work", target=f"board{number}", version=f"{number}.0.0")
        person = fetch_from(
            tmp_path / f"p{number}", moment_of_signing(None).signed_on, parse_reference(place), CALM, root=root,
            prefer_theirs=False,
        )  # fmt: skip
        add(person, f"f{number}", verify(tmp_path / f"b{number}/bundle"), "stable", signer(f"f{number}"))
        people.append(person)

    def run(releases: Releases) -> None:
        try:
            start.wait(10)
            publish_into(releases, [signer("o")], parse_reference(place), CALM)
        except EdgegenError as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures
    assert current(place, tmp_path, root) == {f"board{number}": f"{number}.0.0" for number in range(4)}


def test_publisher_killed_at_any_moment_leaves_old_or_new(plain: Server, tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for version in ("1.0.0", "1.1.0"):
        desk.bundle(version)
    with cuttable_way(plain.port) as way:
        place = f"{way.host}/fw/killed"
        desk.begin(place)
        desk.add("1.0.0", "stable")
        desk.publish(place)
        desk.add("1.1.0", "stable")
        root = tmp_path / "updates/metadata/1.root.json"
        arguments = ("release", "publish", "updates", "--key", "o.key", "--push", place)
        for delay_s in (0.5, 0.7, 0.9):
            child = subprocess.Popen(
                command(*arguments), cwd=tmp_path, env=environment(tmp_path / "cache"), stdout=subprocess.DEVNULL
            )
            time.sleep(delay_s)
            way.cut()
            child.send_signal(signal.SIGKILL)
            child.wait(30)
            assert current(place, tmp_path, root)["raspberrypi4"] in ("1.0.0", "1.1.0")
        desk.publish(place)
        assert current(place, tmp_path, root) == {"raspberrypi4": "1.1.0"}


def test_tag_of_the_releases_is_moved_by_somebody_without_keys(plain: Server, tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.bundle("1.0.0")
    place = f"{plain.host}/fw/moved"
    desk.begin(place)
    desk.add("1.0.0", "stable")
    desk.publish(place)
    pull = ("pull", f"{place}:stable", "--target", "raspberrypi4", "--out", "got")
    desk.run(*pull, *ROOT, machine="device")
    bundle(tmp_path / "evil")
    desk.run("push", "evil", f"{place}:{RELEASES_TAG}")
    assert "these are no releases" in desk.run(*pull, machine="device", code=5).err
    assert "does not vouch for" in desk.publish(place, code=5).err
    desk.run("release", "publish", "updates", "--key", "o.key", "--push", place, "--replace")
    desk.run(*pull, machine="device")
