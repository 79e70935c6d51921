"""kill -9 at random moments: nothing that was finished is lost, and the bundle is the same in the end."""

from __future__ import annotations

import json
from pathlib import Path

from edgegen.artifacts.verify import verify
from support.kills import kill_builds
from support.projects import edgegen, write_project


def test_build_survives_kills(built: Path, tmp_path: Path) -> None:
    folder, cache = write_project(tmp_path / "project"), tmp_path / "cache"
    arguments = ("build", "--target", "null")
    moments = kill_builds(arguments, cwd=folder, cache=cache, kills=6, longest_s=2.5, seed=11)
    assert len(moments) == 6
    done = edgegen(*arguments, "--json", cache=cache, cwd=folder)
    assert done.code == 0, done.err
    undisturbed = json.loads((built / "build/null/result.json").read_text())
    assert done.document["chosen"]["bundle_digest"] == undisturbed["chosen"]["bundle_digest"]
    assert done.document["verdicts"] == undisturbed["verdicts"]
    assert verify(folder / "build/null/bundle").digest == done.document["chosen"]["bundle_digest"]
    leftovers = [
        path.name for path in (folder / "build/null").iterdir() if path.name.startswith(".") and path.name != ".lock"
    ]
    assert leftovers == []
    assert list((cache / "store/tmp").iterdir()) == []
    assert list((cache / "checkpoints").iterdir()) == []
