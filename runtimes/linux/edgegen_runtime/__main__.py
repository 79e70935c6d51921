"""``python -m edgegen_runtime``: run a model over an npz file, or clock it; one JSON object on stdout."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

from edgegen_runtime.session import SESSIONS, ModelRefusedError, Session, infer_all


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m edgegen_runtime", description=__doc__)
    parser.add_argument("action", choices=["run", "measure"])
    parser.add_argument("model", type=Path)
    parser.add_argument("--runtime", choices=sorted(SESSIONS), required=True)
    parser.add_argument("--inputs", type=Path, required=True, help="npz: one array per input, samples first")
    parser.add_argument("--outputs", type=Path, help="npz to write (run)")
    parser.add_argument("--runs", type=int, default=50, help="warm inferences to clock (measure)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 bad arguments, 3 the runtime refuses the model."""
    arguments = _arguments(sys.argv[1:] if argv is None else argv)
    with np.load(arguments.inputs, allow_pickle=False) as archive:
        inputs = {name: archive[name] for name in archive.files}
    try:
        session = SESSIONS[arguments.runtime](arguments.model)
        if arguments.action == "run":
            np.savez(arguments.outputs, **infer_all(session, inputs))  # type: ignore[arg-type]
            report: dict[str, object] = {}
        else:
            report = _measure(session, {name: array[:1] for name, array in inputs.items()}, arguments.runs)
    except ModelRefusedError as error:
        print(f"edgegen_runtime: {error}", file=sys.stderr)
        return 3
    # Linux gives kibibytes.
    report["peak_ram_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(report))
    return 0


def _measure(session: Session, sample: dict[str, np.ndarray], runs: int) -> dict[str, object]:
    times_ms = []
    for _ in range(runs + 1):
        started = time.perf_counter_ns()
        session.infer(sample)
        times_ms.append((time.perf_counter_ns() - started) / 1e6)
    return {"first_ms": times_ms[0], "runs_ms": times_ms[1:]}


if __name__ == "__main__":
    sys.exit(main())
