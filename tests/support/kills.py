"""Kills builds at random moments and looks at what survives."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from support.projects import command, environment


def finished_stages(cache: Path) -> dict[str, str]:
    """Tag -> manifest digest of every finished stage. A stage that is done again gets another digest (its seconds)."""
    index = cache / "store" / "index.json"
    if not index.exists():
        return {}
    entries = json.loads(index.read_text())["manifests"]
    return {entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"] for entry in entries}


def kill_builds(
    arguments: Sequence[str], *, cwd: Path, cache: Path, kills: int, longest_s: float, seed: int
) -> list[tuple[float, int]]:
    """Starts the command and kills it (SIGKILL) after a random time, ``kills`` times over.

    Returns (seconds until the kill, stages finished by then). Fails if a finished stage was lost or done again, or if
    a kill leaves half a bundle.
    """
    dice, moments, known = random.Random(seed), [], finished_stages(cache)
    while len(moments) < kills:
        delay = dice.uniform(0.2, longest_s)
        child = subprocess.Popen(
            command(*arguments), cwd=cwd, env=environment(cache), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            child.wait(delay)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
            time.sleep(0.05)
        else:
            # It ended before its time: what is left to interrupt is the handing over; start again, sooner.
            assert child.returncode == 0
            longest_s = max(0.5, longest_s / 2)
        now = finished_stages(cache)
        lost = {tag for tag, digest in known.items() if now.get(tag) != digest}
        assert not lost, f"{len(lost)} finished stages were lost or done again after {delay:.2f} s"
        for folder in cwd.glob("build/*/bundle"):
            assert (folder / "index.json").exists()
            assert (folder.parent / "files").is_dir()
        known = now
        if child.returncode == -signal.SIGKILL:
            moments.append((delay, len(now)))
    return moments
