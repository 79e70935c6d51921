"""Push and pull of a large bundle: seconds and peak memory, beside skopeo in the same run.

    python tests/benchmarks/bench_registry.py [--gigabytes 1] [--repeats 4] [--tls] [--folder DIR] [--limit-mib 100]

Starts a docker-registry of its own, takes turns (edgegen, skopeo, edgegen, ...), and prints the median of the rates.
edgegen verifies the bundle before a push and after a pull, syncs what it writes and puts files by name beside; skopeo
copies the core alone (all but some KiB). Exit status 1 if edgegen is slower than skopeo or takes more memory than the
limit.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "unit" / "artifacts")]

from support.projects import command, environment  # noqa: E402
from support.registries import PASSWORD, USER, Server, running_registry  # noqa: E402


def write_bundle(out: Path, gigabytes: float) -> None:
    """A bundle with a model of that many random bytes."""
    from example_bundle import contents, evidence

    from edgegen.artifacts.bundle import writing_bundle

    with writing_bundle(out) as writer:
        whole = contents(out.with_name("work"))
        with whole.model.open("wb") as sink:
            for _ in range(round(gigabytes * 1000)):
                sink.write(os.urandom(1_000_000))
        written = writer.add_core(whole)
        whole.model.unlink()
        writer.add_training({}, {"schema_version": 1, "steps": {}})
        writer.add_evidence(evidence(written.digest))


def timed(arguments: list[str], env: dict[str, str]) -> tuple[float, float]:
    """Seconds and peak resident MiB of a child: the kernel's own high water, looked at until the end."""
    os.sync()
    started, peak = time.perf_counter(), 0
    child = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, env=env)
    while child.poll() is None:
        with contextlib.suppress(OSError):
            found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{child.pid}/status").read_text())
            peak = max(peak, int(found.group(1)) if found else 0)
        time.sleep(0.01)
    if child.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)} ended with {child.returncode}")
    return time.perf_counter() - started, peak / 1024


def one_round(
    server: Server, folder: Path, login: dict[str, str], *, tls: bool, number: int
) -> dict[str, tuple[float, float]]:
    """Each of the four once; every push goes to an empty registry."""
    here = {**environment(folder / "cache"), **login}
    place, ca = f"{server.host}/fw/bench:{number}", ["--ca", str(server.ca)] if tls else ["--plain-http"]
    certificates = folder / "certificates"
    certificates.mkdir(exist_ok=True)
    if tls:
        shutil.copy(server.ca, certificates / "ca.crt")
        there = ["--dest-cert-dir", str(certificates), "--dest-creds", f"{USER}:{PASSWORD}"]
    else:
        there = ["--dest-tls-verify=false"]
    back = [item.replace("--dest", "--src") for item in there]
    skopeo = ["skopeo", "--insecure-policy", "copy", "-q"]
    layout = f"oci:{folder}/made/bundle:0.1.0"
    found = {}
    pushes = [
        ("skopeo push", [*skopeo, *there, layout, f"docker://{place}"]),
        ("edgegen push", command("push", str(folder / "made"), place, *ca, "-q")),
    ]
    pulls = [
        ("edgegen pull", command("pull", place, *ca, "-q", "--out", str(folder / "by-edgegen"))),
        ("skopeo pull", [*skopeo, *back, f"docker://{place}", f"oci:{folder}/by-skopeo:0.1.0"]),
    ]
    # Who is first takes turns too: the disk is still busy with what was written and removed before.
    for name, arguments in pushes[:: 1 - number % 2 * 2]:
        server.stop()
        shutil.rmtree(server.folder / "storage", ignore_errors=True)
        server.start()
        found[name] = timed(arguments, env=here)
    for name, arguments in pulls[:: 1 - number % 2 * 2]:
        found[name] = timed(arguments, env=here)
        for taken in ("by-edgegen", "by-skopeo"):
            shutil.rmtree(folder / taken, ignore_errors=True)
    return found


def main() -> int:
    """Exit status 1 if edgegen is slower than skopeo or takes more memory than the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--tls", action="store_true", help="with TLS and a password")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--limit-mib", type=float, default=100.0)
    given = parser.parse_args()
    sys.path[:0] = [str(ROOT / "toolchain"), str(ROOT / "runtimes" / "linux")]
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        write_bundle(folder / "made", given.gigabytes)
        with running_registry(folder / "registry", tls=given.tls, password=given.tls) as server:
            login = server.login(folder / "docker") if given.tls else {}
            rounds = [one_round(server, folder, login, tls=given.tls, number=number) for number in range(given.repeats)]
    slow = False
    figures = {}
    for name in sorted(rounds[0]):
        seconds = [taken[name][0] for taken in rounds]
        peak = max(taken[name][1] for taken in rounds)
        rate = 1000 * given.gigabytes / statistics.median(seconds)
        figures[name] = {"seconds": seconds, "mb_per_s": rate, "peak_mib": peak}
        slow = slow or (name.startswith("edgegen") and peak > given.limit_mib)
    for direction in ("push", "pull"):
        slow = slow or figures[f"edgegen {direction}"]["mb_per_s"] < figures[f"skopeo {direction}"]["mb_per_s"]
    print(json.dumps({"gigabytes": given.gigabytes, "tls": given.tls, "figures": figures}, indent=2))
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
