"""``edgegen bisect``: over 64 commits, with some that do not build, killed and gone on with; over steps."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from edgegen.core.errors import UsageError
from edgegen.pipeline.bisect import Memory, Seen, halve
from support.attributed import Node, chain, write
from support.projects import Ran, command, edgegen, environment

PROJECT = """
[project]
name = "chain"

[model]
file = "model.onnx"

[compress]
recipes = ["float32"]

[export]
formats = ["onnx"]
"""
COMMITS, PLANTED = 64, 41
BROKEN = (31, 32)  # commits whose project file is none; the first look would be at one of them


class Silently:
    """Says nothing."""

    def say(self, message: str) -> None:
        """Drops it."""

    def advance(self, task: str, done: int, total: int, detail: str = "") -> None:
        """Drops it."""


@pytest.mark.parametrize("planted", [0, 1, 17, 31, 32, 62, 63])
@pytest.mark.parametrize("skipped", [(), (30, 31, 32, 33), tuple(range(40, 60))])
def test_halving_finds_the_planted_one_or_names_those_it_may_be(planted: int, skipped: tuple[int, ...]) -> None:
    def judge(item: str) -> Seen:
        number = int(item)
        answer = "skip" if number in skipped else "bad" if number >= planted else "good"
        return Seen(item=item, answer=answer, said="")

    found = halve("good", [str(number) for number in range(64)], judge, Memory(None, {}), Silently())
    assert str(planted) in found.suspects
    assert (found.first_bad == str(planted)) == (len(found.suspects) == 1)
    if not skipped:
        assert found.first_bad == str(planted)
        assert len(found.seen) <= (7 if planted == 63 else 6)  # the last is looked at only where all others are good
    elif found.first_bad is None:
        assert {int(item) for item in found.suspects[:-1]} <= set(skipped)


@pytest.mark.parametrize("count", [1, 2, 64])
def test_halving_where_nothing_is_worse_names_nothing(count: int) -> None:
    def judge(item: str) -> Seen:
        return Seen(item=item, answer="good", said="3 checks kept")

    with pytest.raises(UsageError, match="nothing is worse"):
        halve("good", [str(number) for number in range(count)], judge, Memory(None, {}), Silently())


def test_halving_to_a_last_one_that_cannot_be_judged_does_not_call_it_bad() -> None:
    def judge(item: str) -> Seen:
        return Seen(item=item, answer="skip" if item == "3" else "good", said="")

    found = halve("good", ["1", "2", "3"], judge, Memory(None, {}), Silently())
    assert (found.first_bad, found.suspects, int(found.exit_code)) == (None, ("3",), 4)


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture(scope="module", name="repository")
def _repository(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A project in a folder of a repository, and its commits: the good one, then 64."""
    top = tmp_path_factory.mktemp("bisect") / "repository"
    project = top / "model"
    project.mkdir(parents=True)
    git(top, "init", "-q")
    nodes = chain(4)
    commits = []
    for number in range(COMMITS + 1):
        (project / "edgegen.toml").write_text("no project" if number - 1 in BROKEN else PROJECT)
        if number in (0, PLANTED + 1):
            slow = [] if number == 0 else [Node("Conv", channels=nodes[0].channels)]
            write([nodes[0], *slow, *nodes[1:]], project / "model.onnx", seed=4)
        (project / "README.md").write_text(f"commit {number}\n")
        git(top, "add", "-A")
        git(top, "commit", "-q", "-m", f"commit {number}")
        commits.append(git(top, "rev-parse", "HEAD"))
    return project, commits


def bisect(project: Path, cache: Path, *arguments: str) -> Ran:
    return edgegen("bisect", *arguments, "--json", cache=cache, cwd=project)


def test_bisect_finds_the_planted_commit_of_64(repository: tuple[Path, list[str]], tmp_path: Path) -> None:
    project, commits = repository
    status = git(project, "status", "--porcelain"), git(project, "rev-parse", "HEAD")
    done = bisect(project, tmp_path / "cache", commits[0], commits[-1], "--target", "null")
    assert done.code == 0, done.err
    assert done.document["first_bad"] == commits[PLANTED + 1]
    looks = [look for look in done.document["looks"] if look["answer"] != "skip"]
    assert len(looks) + 1 <= 7, "the good commit's own build is one of them"
    assert any("size_bytes regression" in look["said"] for look in looks)
    assert (git(project, "status", "--porcelain"), git(project, "rev-parse", "HEAD")) == status
    assert git(project, "worktree", "list").count("\n") == 0


JUDGE = "test -f ../model/edgegen.toml && n=$(sed 's/commit //' README.md) && {extra} test $n -le 42"


def test_bisect_by_a_command_goes_on_where_it_was_killed(repository: tuple[Path, list[str]], tmp_path: Path) -> None:
    project, commits = repository
    log = tmp_path / "log"
    judge = JUDGE.format(extra=f"echo $n >> {log} && sleep 0.4 &&")
    arguments = ("bisect", commits[0], commits[-1], "--run", judge, "--json")
    process = subprocess.Popen(
        command(*arguments), cwd=project, env=environment(tmp_path / "cache"), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not log.exists() or len(log.read_text().split()) < 3):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    seen = log.read_text().split()
    done = edgegen(*arguments, cache=tmp_path / "cache", cwd=project)
    assert done.code == 0, done.err
    assert done.document["first_bad"] == commits[43]
    again = log.read_text().split()[len(seen) :]
    assert not set(again) & set(seen[:-1]), "what was judged to its end is not judged again"
    assert git(project, "worktree", "list").count("\n") == 0


def test_bisect_that_is_killed_leaves_nothing_running(repository: tuple[Path, list[str]], tmp_path: Path) -> None:
    project, commits = repository
    told = tmp_path / "pid"
    arguments = (
        "bisect",
        commits[0],
        commits[9],
        "--run",
        f"echo $$ > {told}.new; mv {told}.new {told}; exec sleep 60",
    )
    process = subprocess.Popen(command(*arguments), cwd=project, env=environment(tmp_path / "cache"))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not told.exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    looked_at = Path("/proc", told.read_text().strip(), "cmdline")
    while time.monotonic() < deadline and looked_at.exists() and b"sleep" in looked_at.read_bytes():
        time.sleep(0.05)
    assert not looked_at.exists() or b"sleep" not in looked_at.read_bytes()


def test_bisect_of_commits_that_cannot_be_judged_names_them(repository: tuple[Path, list[str]], tmp_path: Path) -> None:
    project, commits = repository
    done = bisect(project, tmp_path / "cache", commits[30], commits[34], "--run", "exit 125")
    assert done.code == 4
    assert done.document["suspects"] == commits[31:35]


@pytest.mark.parametrize(
    "arguments",
    [
        ("HEAD", "HEAD~3", "--run", "true"),
        ("HEAD", "HEAD", "--run", "true"),
        ("nothing", "HEAD", "--run", "true"),
        ("HEAD~3", "HEAD"),
        ("float32@onnx", "static-int8@litert", "-t", "null"),
        ("static-int8@onnx", "float32@onnx", "-t", "null"),
        ("float32@onnx", "x@y", "-t", "null"),
    ],
)
def test_bisect_that_makes_no_sense_is_a_usage_error(
    repository: tuple[Path, list[str]], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = bisect(repository[0], tmp_path / "cache", *arguments)
    assert done.code == 2, done.err


def test_bisect_over_steps_names_the_step(project: Path, cache: Path) -> None:
    arguments = ("float32@onnx", "weight-int8@onnx", "--target", "null", "--metric", "paired.psnr_db_mean")
    done = edgegen("bisect", *arguments, "--json", cache=cache, cwd=project)
    assert done.code == 0, done.err
    assert done.document["first_bad"] == "weight-int8@onnx"
