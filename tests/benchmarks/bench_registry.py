"""Push and pull of a large bundle: seconds and peak memory, beside skopeo in the same run.

    python tests/benchmarks/bench_registry.py [--gigabytes 1] [--repeats 4] [--tls] [--folder DIR] [--limit-mib 100]

Starts a docker-registry of its own, takes turns (edgegen, skopeo, edgegen, ...), and prints the median of the rates,
of the processor seconds (the client's and the registry's) and of the ratios of the pairs. edgegen verifies the bundle
before a push and after a pull, syncs what it writes and puts files by name beside; skopeo copies the core alone (all
but some KiB). Exit status 1 if the median pair has edgegen slower than skopeo, or it takes more memory than the limit.
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
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What one run took."""

    seconds: float
    peak_mib: float
    cpu_s: float  # of the client
    registry_cpu_s: float


def timed(arguments: list[str], env: dict[str, str], server: Server) -> Taken:
    """Runs a child to its end; its peak memory is the kernel's own high water, looked at until the end."""
    os.sync()
    before, started, peak = _cpu_of(server), time.perf_counter(), 0
    child = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, env=env)
    while True:
        with contextlib.suppress(OSError):
            found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{child.pid}/status").read_text())
            peak = max(peak, int(found.group(1)) if found else 0)
        ended, status, usage = os.wait4(child.pid, os.WNOHANG)
        if ended:
            break
        time.sleep(0.01)
    seconds, child.returncode = time.perf_counter() - started, os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)} ended with {child.returncode}")
    cpu = usage.ru_utime + usage.ru_stime
    return Taken(seconds=seconds, peak_mib=peak / 1024, cpu_s=cpu, registry_cpu_s=_cpu_of(server) - before)


def _cpu_of(server: Server) -> float:
    """Processor seconds of the registry until now."""
    assert server.process is not None
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def one_round(server: Server, folder: Path, login: dict[str, str], *, tls: bool, number: int) -> dict[str, Taken]:
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
        found[name] = timed(arguments, here, server)
    for name, arguments in pulls[:: 1 - number % 2 * 2]:
        found[name] = timed(arguments, here, server)
        for taken in ("by-edgegen", "by-skopeo"):
            shutil.rmtree(folder / taken, ignore_errors=True)
    return found


def main() -> int:
    """Exit status 1 if edgegen is slower than skopeo in the median pair, or takes more memory than the limit."""
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
    slow, figures = False, {}
    for name in sorted(rounds[0]):
        every = [taken[name] for taken in rounds]
        peak = max(item.peak_mib for item in every)
        figures[name] = {
            "seconds": [item.seconds for item in every],
            "mb_per_s": 1000 * given.gigabytes / statistics.median(item.seconds for item in every),
            "peak_mib": peak,
            "cpu_s": statistics.median(item.cpu_s for item in every),
            "registry_cpu_s": statistics.median(item.registry_cpu_s for item in every),
        }
        slow = slow or (name.startswith("edgegen") and peak > given.limit_mib)
    pairs = {}
    for direction in ("push", "pull"):
        ratios = [one[f"skopeo {direction}"].seconds / one[f"edgegen {direction}"].seconds for one in rounds]
        pairs[direction] = {"ratios": ratios, "median": statistics.median(ratios)}
        slow = slow or statistics.median(ratios) < 1
    document = {"gigabytes": given.gigabytes, "tls": given.tls, "figures": figures, "times_as_fast_as_skopeo": pairs}
    print(json.dumps(document, indent=2))
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
