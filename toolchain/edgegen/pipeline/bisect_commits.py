"""Bisection over git commits: each built in a working tree of its own, judged by the gate or by a person's command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgegen.bench.commits import git
from edgegen.bench.gate import exit_code
from edgegen.bench.gate_said import finding
from edgegen.bench.regression import Rules
from edgegen.core.cache import Cache
from edgegen.core.digests import sha256_json
from edgegen.core.errors import BuildError, EdgegenError, ExitCode, UsageError
from edgegen.core.lazy import import_path
from edgegen.core.locks import locked
from edgegen.core.ports import Progress
from edgegen.pipeline.baseline import Given, read_given
from edgegen.pipeline.bisect import Found, Memory, Seen, halve
from edgegen.pipeline.gate import judge_given

_STATE = "edgegen-bisect.json"
_RESULTS = "results"
_GIT_S = 300.0
_SKIP = 125  # what git's own bisect takes for "cannot be judged"
_MAX_COMMITS = 100_000
_SAID_BYTES = 4000
# Becomes the command, having asked the kernel to be ended with us: what went on building in a working tree that the
# next bisection takes over would leave a result of two commits. Between fork and exec code is not safe beside threads.
_ENDS_WITH_US = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked of every commit."""

    target: str | None  # None: with a command of one's own
    run: str | None  # a shell command; None: build and gate
    rules: Rules
    overrides: tuple[str, ...] = ()
    timeout_s: float | None = None  # of one commit


def bisect_commits(
    good: str, bad: str, wanted: Wanted, *, folder: Path, cache: Cache, progress: Progress, restart: bool = False
) -> Found:
    """The first commit after ``good``, up to ``bad``, that is worse.

    Args:
        folder: of the project, in a git repository.
        restart: forget what an earlier, equal bisection saw.

    Raises:
        UsageError: no repository, or ``bad`` does not descend from ``good``.
        BuildError: ``good`` itself cannot be built, so there is nothing to hold the others against.
    """
    top = Path(git(folder, "rev-parse", "--show-toplevel").strip())
    ends = [_commit(folder, name) for name in (good, bad)]
    commits = git(folder, "rev-list", "--reverse", "--first-parent", "--ancestry-path", f"{ends[0]}..{ends[1]}").split()
    if not commits or len(commits) > _MAX_COMMITS:
        raise UsageError(
            "there is no way from the good commit to the bad one",
            where="edgegen bisect",
            got=f"{good}..{bad}: {len(commits)} commits",
            expected="GOOD is an ancestor of BAD",
        )
    below = folder.resolve().relative_to(top)
    about = {
        "ends": ends,
        "target": wanted.target,
        "run": wanted.run,
        "tolerances": dict(wanted.rules.tolerances),
        "metrics": list(wanted.rules.metrics),
        "overrides": list(wanted.overrides),
        "folder": str(below),
    }
    common = Path(git(folder, "rev-parse", "--path-format=absolute", "--git-common-dir").strip())
    memory = Memory(common / _STATE, about)
    if restart:
        memory.forget()
    place = cache.root / "bisect" / sha256_json([str(top), about])[:16]
    with locked(place.with_suffix(".lock"), timeout_s=0), _working_tree(top, place / "tree", ends[0]) as tree:
        judge = _Judge(tree, tree / below, place / _RESULTS, ends[0], wanted, cache, progress)
        found = halve(ends[0], commits, judge.look, memory, progress)
    shutil.rmtree(place, ignore_errors=True)
    return found


def _commit(folder: Path, name: str) -> str:
    try:
        return git(folder, "rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}").strip()
    except UsageError as error:
        raise UsageError(
            "not a commit, and no recipe@format",
            where="edgegen bisect",
            got=name,
            expected="what git knows by that name",
        ) from error


class _Judge:
    """Looks at commits, one after the other, in one working tree."""

    def __init__(
        self, tree: Path, project: Path, results: Path, good: str, wanted: Wanted, cache: Cache, progress: Progress
    ) -> None:
        self._tree = tree
        self._project = project
        self._results = results
        self._good = good
        self._wanted = wanted
        self._cache = cache
        self._progress = progress
        self._baseline: Given | None = None

    def look(self, commit: str) -> Seen:
        """What a commit turns out to be."""
        if self._wanted.run is not None:
            return self._by_command(commit, self._wanted.run)
        if self._baseline is None:
            self._baseline = self._of_good()
        built = self._built(commit)
        if isinstance(built, str):
            return Seen(item=commit, answer="skip", said=built)
        checks = judge_given(built, self._baseline, self._wanted.rules)
        code = exit_code(checks)
        bad = [finding(check) for check in checks if check.required and check.status == "fail"]
        if code is ExitCode.BUDGET_FAILED:
            return Seen(item=commit, answer="bad", said="; ".join(bad[:3]))
        if code is ExitCode.OK:
            return Seen(item=commit, answer="good", said=f"{len(checks)} checks kept")
        return Seen(item=commit, answer="skip", said="it could not be judged")

    def _of_good(self) -> Given:
        """The good commit's own figures, kept from an earlier process where there are some."""
        self._progress.say(f"{self._good[:12]}: the good commit, which the others are held against")
        built = self._built(self._good)
        if isinstance(built, str):
            raise BuildError(
                "the good commit cannot be built, so there is nothing to hold the others against",
                where=self._good,
                got=built,
                next_step="name another GOOD, or judge by a command of your own with --run",
            )
        return built

    def _built(self, commit: str) -> Given | str:
        """What a build of a commit measured, or why there is nothing. Finished stages come from the cache."""
        assert self._wanted.target is not None
        out = self._results / commit
        result = out / self._wanted.target / "result.json"
        if not result.is_file():
            _check_out(self._tree, commit)
            command = [sys.executable, "-m", "edgegen.cli.main", "build", "--project", str(self._project)]
            command += ["--target", self._wanted.target, "--out", str(out), "--quiet"]
            command += [text for item in self._wanted.overrides for text in ("--set", item)]
            code, said = self._ran(command, self._project)
            if not result.is_file():
                return f"the build ended with {code}: {said}"
        try:
            given = read_given(str(result))
        except EdgegenError as error:
            return error.what
        return given if given.runs else "nothing was measured"

    def _by_command(self, commit: str, command: str) -> Seen:
        _check_out(self._tree, commit)
        code, said = self._ran(["/bin/sh", "-c", command], self._project)
        if code == 0:
            return Seen(item=commit, answer="good", said="the command ended with 0")
        if code == ExitCode.BUDGET_FAILED:
            return Seen(item=commit, answer="bad", said="the command ended with 1")
        return Seen(item=commit, answer="skip", said=f"the command ended with {code}: {said}"[:400])

    def _ran(self, command: list[str], folder: Path) -> tuple[int, str]:
        """Exit status (125 where it did not end in time) and last words."""
        environment: Mapping[str, str] = {
            **os.environ,
            "EDGEGEN_CACHE": str(self._cache.root),
            # Where the package itself is what is bisected, a command of one's own names what it imports.
            **({} if self._wanted.run is not None else {"PYTHONPATH": import_path()}),
        }
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-c", _ENDS_WITH_US, str(os.getpid()), *command],
                cwd=folder if folder.is_dir() else self._tree,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=self._wanted.timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return _SKIP, f"not finished within {self._wanted.timeout_s:g} s"
        lines = done.stdout[-_SAID_BYTES:].decode("utf-8", "replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        return done.returncode, " ".join(last.split())[:300]


@contextmanager
def _working_tree(top: Path, place: Path, commit: str) -> Iterator[Path]:
    """A working tree beside the repository's own, removed at the end; one that a killed process left is taken over."""
    git(top, "worktree", "prune", timeout_s=_GIT_S)
    if place.exists():
        _remove(top, place)
    place.parent.mkdir(parents=True, exist_ok=True)
    git(top, "worktree", "add", "--detach", "--force", str(place), commit, timeout_s=_GIT_S)
    try:
        yield place
    finally:
        _remove(top, place)


def _remove(top: Path, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    git(top, "worktree", "prune", timeout_s=_GIT_S)


def _check_out(tree: Path, commit: str) -> None:
    """The commit's files, and nothing that an earlier look left beside them but what git ignores."""
    git(tree, "checkout", "--detach", "--force", "--quiet", commit, timeout_s=_GIT_S)
    git(tree, "clean", "-fdq", timeout_s=_GIT_S)
