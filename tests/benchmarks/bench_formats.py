"""What a build ships beside what one would ship without it: float ONNX Runtime, float LiteRT, onnxruntime's int8.

    python tests/benchmarks/bench_formats.py [--template vae ...] [--samples 256] [--cache DIR]

For each template and target the project is built as it is and the chosen file weighed beside the float model in ONNX
and LiteRT and `onnxruntime.quantization.quantize_static` with its defaults: bytes, counted instructions and peak
RAM of the emulated board, and quality with 95 % intervals on the same held-out inputs. Goes on where it was
stopped. Prints Markdown and, a line a target, whether the chosen file costs no more than the best of the others whose
task figure is not better beyond its interval or by more than 1 %.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import edgegen  # noqa: E402
from edgegen.core.cache import Cache  # noqa: E402
from edgegen.core.models import FORMATS  # noqa: E402
from support.compared import Row, Spoken, floats, markdown, plain_defaults, tried, yardstick  # noqa: E402
from support.yardstick import Weighed, Yardstick  # noqa: E402

TEMPLATES = ("tabular", "anomaly", "flow", "classifier", "vae", "gan", "keyword", "autoregressive")
RIVAL = "onnxruntime quantize_static"
_EQUAL_LOSS = 0.01  # of the task figure: what a compressed model is allowed to lose


def main() -> int:
    """Prints the tables."""
    options = _options()
    cache = Path(options.cache).expanduser().resolve()
    for template in options.template:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with yardstick(template, options.target, cache, options.samples, folder) as stick:
                plain = [*floats(stick), *(row for row in plain_defaults(stick, folder) if row.name == RIVAL)]
                chosen = {target: _chosen(stick, folder / template, target, cache) for target in options.target}
        print(f"\n## {template}\n\n{markdown([*plain, *chosen.values()], options.target)}\n", flush=True)
        print("\n".join(_said(plain, chosen, options.target)), flush=True)
    return 0


def _chosen(stick: Yardstick, project: Path, target: str, cache: Path) -> Row:
    """What a build of the project for the target ships, weighed."""
    result = edgegen.build(project, target=target, cache=Cache(cache), progress=Spoken())
    told = result.document["chosen"]
    if told is None:
        return Row(name=f"chosen for {target}", kind="chosen", why_not=f"nothing: exit {result.document['exit_code']}")
    path = result.folder / "files" / FORMATS[told["format"]]
    name = f"chosen for {target}: {told['candidate']}"
    return tried(name, "chosen", partial(stick.weigh, name, path, told["format"]))


def _said(plain: Sequence[Row], chosen: dict[str, Row], targets: Sequence[str]) -> Iterator[str]:
    rivals = [row.weighed for row in plain if row.weighed is not None]
    for target in targets:
        mine = chosen[target].weighed
        if mine is None:
            yield f"- {target}: {chosen[target].why_not}"
            continue
        equal = [item for item in rivals if mine.task.within(item.task) or mine.task.loss(item.task) <= _EQUAL_LOSS]
        best: Weighed | None = min(equal, key=lambda item: item.instructions[target], default=None)
        if best is None:
            yield f"- {target}: none of the others is of equal quality"
            continue
        ratio = mine.instructions[target] / best.instructions[target]
        verdict = "no more than" if ratio <= 1 else "more than"
        yield f"- {target}: {ratio:.2f} times the instructions of {best.name}: {verdict} the best of the others"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--template", nargs="+", default=list(TEMPLATES), choices=TEMPLATES)
    parser.add_argument("--target", nargs="+", default=["raspberrypi4", "raspberrypi5"])
    parser.add_argument("--samples", type=int, default=256, help="held-out inputs")
    parser.add_argument("--cache", default="~/.cache/edgegen-benchmarks", help="folder of stages")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
