"""The second project file of the template 'flow': the same for real data."""

import shutil
from pathlib import Path

from edgegen.core.errors import ExitCode
from edgegen.pipeline import templates
from support.projects import edgegen

SHORT = (
    "train.epochs=1",
    "quality.second_training=false",
    'export.formats=["onnx"]',
    'compress.recipes=["float32"]',
    "quality.samples=8",
)


def test_the_watch_variant_builds(tmp_path):
    source = Path(templates.__file__).parents[1] / "docs/templates/flow/watch.toml"
    shutil.copyfile(source, tmp_path / "edgegen.toml")
    settings = [part for written in SHORT for part in ("--set", written)]
    built = edgegen("build", "--target", "null", "--json", *settings, cache=tmp_path / "cache", cwd=tmp_path)
    assert built.code in (ExitCode.OK, ExitCode.BUDGET_FAILED), built.err
    figures = {figure["name"]: figure for figure in built.document["training"]["figures"]}
    assert {"log_likelihood_nats", "energy_distance"} <= set(figures)
    assert "source_log_likelihood_nats" not in figures  # window statistics are more than a change of scale
    assert figures["log_likelihood_nats"]["baseline"]["bytes"] > 0
