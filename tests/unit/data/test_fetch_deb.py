"""Data out of Debian packages: a real apt over a repository on disk, real packages, and packages that mean harm."""

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from edgegen.core.errors import ExitCode, IntegrityError, ToolMissingError, UsageError
from edgegen.core.ports import Silent
from edgegen.data.collect.deb import unpack
from edgegen.data.collect.source import collect, content_digest, find_source, source_digest
from support.media import gather, settings, write_wav
from support.told import Told

pytestmark = pytest.mark.skipif(
    not (shutil.which("apt-get") and shutil.which("dpkg-deb")), reason="needs apt-get and dpkg-deb"
)

CONTROL = "Package: tiny-sounds\nVersion: 1.2-3\nArchitecture: all\nMaintainer: nobody <a@b.c>\nDescription: tones\n"
WORDS = PurePosixPath("usr/share/sounds/words")
RATE = {"rate_hz": 8000, "seconds": 0.1}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A package of eleven clips of one word each, and a text."""
    root = tmp_path_factory.mktemp("package") / "root"
    for index in range(11):
        write_wav(root / WORDS / f"word{index}.wav", np.sin(np.arange(800) / (index + 2)))
    (root / "usr/share/sounds/words/again.wav").symlink_to("word3.wav")
    (root / "usr/share/sounds/notes.txt").write_text("Some words about tones.\n" * 100)
    (root / "usr/share/sounds/current").symlink_to("words")
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN" / "control").write_text(CONTROL)
    deb = root.parent / "tiny-sounds_1.2-3_all.deb"
    subprocess.run(
        ["dpkg-deb", "-Zgzip", "--root-owner-group", "--build", root, deb], check=True, stdout=subprocess.DEVNULL
    )
    return deb


@pytest.fixture(scope="module")
def apt_config(package, tmp_path_factory):
    """Configuration of an apt that knows one repository, on disk, and nothing of the machine's."""
    place = tmp_path_factory.mktemp("apt")
    for name in ("repository", "state/lists/partial", "cache/archives/partial", "parts"):
        (place / name).mkdir(parents=True)
    (place / "state" / "status").touch()
    shutil.copy(package, place / "repository")
    data = package.read_bytes()
    listing = f"{CONTROL}Filename: ./{package.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
    (place / "repository" / "Packages").write_text(listing)
    (place / "sources.list").write_text(f"deb [trusted=yes] file:{place}/repository ./\n")
    (place / "apt.conf").write_text(
        f'Dir::State "{place}/state";\nDir::State::status "{place}/state/status";\nDir::Cache "{place}/cache";\n'
        f'Dir::Etc::sourcelist "{place}/sources.list";\nDir::Etc::sourceparts "{place}/parts";\n'
        f'Dir::Etc::parts "{place}/parts";\nDir::Etc::main "/dev/null";\n'
        'APT::Sandbox::User "";\nAcquire::Languages "none";\n'
    )
    environment = dict(os.environ) | {"APT_CONFIG": str(place / "apt.conf")}
    subprocess.run(["apt-get", "-qq", "update"], check=True, env=environment, capture_output=True)
    return place / "apt.conf"


@pytest.fixture
def apt(apt_config, monkeypatch):
    monkeypatch.setenv("APT_CONFIG", str(apt_config))


def _words(**collecting):
    return {"kind": "wav", "collect": {"deb": "tiny-sounds", **RATE, **collecting}}


@pytest.mark.usefixtures("apt")
@pytest.mark.parametrize("name", ["tiny-sounds", "tiny-sounds=1.2-3"])
def test_collect_takes_clips_out_of_a_package(tmp_path, name):
    told = Told()
    collected, arrays = gather(tmp_path, str(WORDS), progress=told, **_words(deb=name))
    assert arrays["labels"].tolist()[:2] == ["again", "word0"]
    assert np.array_equal(arrays["values"][0], arrays["values"][arrays["labels"].tolist().index("word3")])
    assert collected.source == f"{name}: {WORDS}"
    assert collected.name == "words"
    assert "tiny-sounds_1.2-3_all.deb" in told.text
    assert [path.name for path in tmp_path.iterdir()] == ["collected"]


@pytest.mark.usefixtures("apt")
def test_collect_takes_one_text_out_of_a_package(tmp_path):
    collected, _ = gather(tmp_path, "/usr/share/sounds/notes.txt", collect={"deb": "tiny-sounds"})
    assert (collected.kind, collected.name) == ("text", "notes")


@pytest.mark.usefixtures("apt")
def test_the_digest_of_the_content_is_held_against_the_setting(tmp_path, package):
    folder = tmp_path / "by-hand"
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    digest = content_digest(folder / WORDS)
    assert gather(tmp_path, str(WORDS), **_words(sha256=digest))[0].sha256 == digest
    with pytest.raises(IntegrityError, match=digest) as caught:
        gather(tmp_path, str(WORDS), **_words(sha256="0" * 64))
    assert caught.value.exit_code == ExitCode.INTEGRITY


def test_a_stage_may_be_kept_only_when_the_content_is_named(tmp_path):
    digests = []
    for sha256 in (None, "1" * 64, "2" * 64):
        data = settings(str(WORDS), **_words(**({} if sha256 is None else {"sha256": sha256})))
        digests.append(source_digest(find_source(data, tmp_path), data))
    assert digests[0] is None
    assert None not in digests[1:]
    assert digests[1] != digests[2]


def test_the_digest_is_held_against_a_file_of_one_s_own_too(tmp_path):
    np.savez(tmp_path / "own.npz", images=np.zeros((20, 8, 8), np.uint8))
    digest = content_digest(tmp_path / "own.npz")
    assert gather(tmp_path, "own.npz", collect={"sha256": digest})[0].samples == 20
    with pytest.raises(IntegrityError):
        gather(tmp_path, "own.npz", collect={"sha256": digest[::-1]})


@pytest.mark.usefixtures("apt")
@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("usr/share/sounds/wrods", "usr/share/sounds/words"),
        ("usr/share/music", "usr/share/sounds"),
        ("usr/share/sounds/current", "leads out"),
        ("", "no path"),
        ("../etc", "no path"),
        ("usr/../../etc", "no path"),
    ],
)
def test_a_path_that_the_package_does_not_hold_is_refused(tmp_path, path, says):
    with pytest.raises(UsageError, match=says):
        gather(tmp_path, path, **_words())
    assert not list((tmp_path / "collected").iterdir())


@pytest.mark.usefixtures("apt")
@pytest.mark.parametrize("name", ["no-such-package", "tiny-sounds=9.9"])
def test_a_package_that_apt_does_not_know_is_not_there(tmp_path, name):
    with pytest.raises(ToolMissingError, match="apt-get update") as caught:
        gather(tmp_path, str(WORDS), **_words(deb=name))
    assert caught.value.exit_code == ExitCode.NOT_JUDGED
    assert name.split("=")[0] in (caught.value.got or "")


@pytest.mark.parametrize("name", ["-oAPT::x=y", "./evil.deb", "a b", "Tiny", "x", "tiny-sounds/stable", "a\nb"])
def test_what_is_no_package_name_never_reaches_apt(tmp_path, name):
    with pytest.raises(UsageError, match="no name"):
        gather(tmp_path, str(WORDS), **_words(deb=name))


def test_a_machine_without_apt_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissingError, match="no apt-get and no dpkg-deb"):
        gather(tmp_path, str(WORDS), **_words())


def test_nothing_is_downloaded_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissingError, match="--offline"):
        collect(settings(str(WORDS), **_words()), tmp_path, tmp_path, Silent(), offline=True)


def test_a_package_needs_a_path(tmp_path):
    (tmp_path / "out").mkdir()
    data = settings("x", **_words()).__class__(collect=settings("x", **_words()).collect)
    with pytest.raises(UsageError, match="path inside"):
        collect(data, tmp_path, tmp_path / "out", Silent())


# -- packages that mean harm ------------------------------------------------------------------------------------------


def _deb(path: Path, *members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]) -> Path:
    """A package with these members, as dpkg-deb reads it."""

    def tar(entries):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for entry in entries:
                info, data = entry if isinstance(entry, tuple) else (entry, b"")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return stream.getvalue()

    parts = {
        "debian-binary": b"2.0\n",
        "control.tar": tar([(tarfile.TarInfo("./control"), CONTROL.encode())]),
        "data.tar": tar(members),
    }
    with path.open("wb") as stream:
        stream.write(b"!<arch>\n")
        for name, data in parts.items():
            stream.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode())
            stream.write(data + b"\n" * (len(data) % 2))
    return path


def _entry(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


FILE = (_entry("./data/a.txt"), b"inside")
HARM = {
    "path upwards": [(_entry("./data/../../escaped"), b"x")],
    "absolute link": [FILE, _entry("./data/b", tarfile.SYMTYPE, "/etc/passwd")],
    "link upwards": [FILE, _entry("./data/b", tarfile.SYMTYPE, "../../../../etc/passwd")],
    "link to what is beside": [FILE, (_entry("./other"), b"x"), _entry("./data/b", tarfile.SYMTYPE, "../other")],
    "link to nothing": [FILE, _entry("./data/b", tarfile.SYMTYPE, "gone")],
    "ring of links": [_entry("./data/a", tarfile.SYMTYPE, "b"), _entry("./data/b", tarfile.SYMTYPE, "a")],
    "links that add up": [
        _entry("./data/deep", tarfile.DIRTYPE),
        _entry("./data/deep/up", tarfile.SYMTYPE, ".."),
        _entry("./data/out", tarfile.SYMTYPE, "deep/up/.."),
    ],
    "file through a link": [_entry("./data/b", tarfile.SYMTYPE, "/tmp"), (_entry("./data/b/escaped"), b"x")],
    "link through a link": [
        _entry("./data/b", tarfile.SYMTYPE, "/tmp"),
        _entry("./data/b/escaped", tarfile.SYMTYPE, "/etc/passwd"),
    ],
    "link in place of the folder": [_entry("./data", tarfile.SYMTYPE, "/tmp")],
    "hard link outwards": [_entry("./data/b", tarfile.LNKTYPE, "/etc/passwd")],
    "hard link to what is beside": [(_entry("./other"), b"x"), _entry("./data/b", tarfile.LNKTYPE, "./other")],
    "hard link to nothing": [_entry("./data/b", tarfile.LNKTYPE, "./data/gone")],
    "pipe": [_entry("./data/b", tarfile.FIFOTYPE)],
    "device": [_entry("./data/b", tarfile.CHRTYPE)],
    "name twice": [FILE, (_entry("./data/a.txt"), b"again")],
    "file as a folder": [FILE, (_entry("./data/a.txt/b"), b"x")],
}


@pytest.mark.parametrize("case", HARM)
def test_a_package_that_means_harm_is_refused(tmp_path, case):
    deb = _deb(tmp_path / "x.deb", *HARM[case])
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    with pytest.raises(UsageError, match=r"x\.deb"):
        unpack(deb, PurePosixPath("data"), place / "content")
    assert all(place / "content" in path.parents for path in tmp_path.rglob("escaped"))
    assert not Path("/tmp/escaped").exists()
    assert [path.name for path in place.iterdir()] == ["content"]


def test_links_inside_are_kept(tmp_path):
    members = [
        FILE,
        _entry("./data/soft", tarfile.SYMTYPE, "a.txt"),
        _entry("./data/hard", tarfile.LNKTYPE, "./data/a.txt"),
    ]
    found = unpack(_deb(tmp_path / "x.deb", *members), PurePosixPath("data"), tmp_path / "content")
    assert {path.name: path.read_bytes() for path in found.iterdir()} == dict.fromkeys(
        ("a.txt", "soft", "hard"), b"inside"
    )


def test_only_what_is_wanted_is_written(tmp_path):
    members = [FILE, (_entry("./database/b.txt"), b"x"), (_entry("./a.txt"), b"x")]
    unpack(_deb(tmp_path / "x.deb", *members), PurePosixPath("data"), tmp_path / "content")
    assert [path.name for path in (tmp_path / "content").rglob("*")] == ["data", "a.txt"]


@pytest.mark.parametrize("damage", ["cut", "no package", "empty"])
def test_a_damaged_package_is_refused(tmp_path, damage):
    deb = _deb(tmp_path / "x.deb", *[(_entry(f"./data/{index}"), bytes(5000)) for index in range(20)])
    data = deb.read_bytes()
    deb.write_bytes({"cut": data[: len(data) // 2], "no package": b"x" * 1000, "empty": b""}[damage])
    with pytest.raises(UsageError, match=r"x\.deb"):
        unpack(deb, PurePosixPath("data"), tmp_path / "content")
