"""Acceptance: every template passes its budgets on the emulated Raspberry Pi 4 within ten minutes on two idle cores.

And no simple model of no more bytes is better in what the template is there for.

    python -m pytest -m long tests/emulated/test_templates_in_full.py -s
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edgegen.pipeline.templates import template_names
from support.projects import edgegen

pytestmark = pytest.mark.long

MOST_SECONDS = 600
DECIDING = {  # template -> figures in which no simple model may be better
    "anomaly": {"auc_ratio", "average_precision_ratio"},
    "autoregressive": {"bits_per_byte", "late_bits_per_byte", "nats_per_token", "perplexity"},
    "classifier": {"accuracy_ratio", "balanced_accuracy_ratio", "macro_f1_ratio"},
    "flow": {"log_likelihood_nats", "source_log_likelihood_nats"},
    # Precision alone is the blurred mean's: it says nothing of what is never drawn.
    "gan": {"fid", "kid", "recall", "density", "coverage"},
    "import": set(),  # nothing is trained: it has to stay near the model that it was given
    "keyword": {"accuracy_ratio", "balanced_accuracy_ratio", "macro_f1_ratio"},
    "tabular": {"accuracy_ratio", "balanced_accuracy_ratio", "macro_f1_ratio", "auc_ratio"},
    "vae": {"mse", "psnr_db", "ssim", "fid", "kid", "recall", "coverage"},
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("templates") / "cache"
    done = edgegen("setup", "raspberrypi4", cache=folder, timeout=1800)
    assert done.code == 0, done.err
    return folder


def test_every_template_is_judged() -> None:
    assert set(DECIDING) == set(template_names())


@pytest.mark.parametrize("name", template_names())
def test_template_ships_in_time_and_beats_the_simple_model(name: str, tmp_path: Path, cache: Path) -> None:
    project = tmp_path / "project"
    assert edgegen("init", str(project), "--template", name, cache=cache).code == 0
    begun = time.monotonic()
    done = edgegen("build", "--target", "raspberrypi4", "--json", cache=cache, cwd=project, timeout=3600)
    seconds = time.monotonic() - begun
    assert done.code == 0, done.err
    document = done.document
    chosen = next(item for item in document["candidates"] if item["name"] == document["chosen"]["candidate"])
    print(
        f"\n{name}: {seconds:.0f} s, ships {chosen['name']}, {chosen['size_bytes']:,} bytes, "
        f"{chosen['counted']['instructions']:,} instructions, {chosen['peak_ram_bytes']:,} bytes of RAM"
    )
    compared, behind = set(), []
    for figure in (document["training"] or {"figures": ()})["figures"]:
        simple = figure["baseline"]
        if simple is None:
            continue
        beside = f"{simple['name']} of {simple['bytes']:,} bytes: {simple['value']:.4g}"
        print(f"  {figure['name']} {figure['value']:.4g}, {beside}")
        compared.add(figure["name"])
        sign = {"higher": 1, "lower": -1}[figure["better"]]
        if figure["name"] in DECIDING[name] and sign * figure["value"] < sign * simple["value"]:
            behind.append(figure["name"])
    assert compared & DECIDING[name] or not DECIDING[name], "nothing was compared with a simple model"
    assert not behind
    assert seconds <= MOST_SECONDS
