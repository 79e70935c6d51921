import json
import xml.etree.ElementTree as ET

import pytest
from example_build import PROFILE, TABLE, budgets, candidate, candidates, choice, document, training
from jsonschema import Draft202012Validator

from edgegen.artifacts.bundle import Written
from edgegen.artifacts.layout import FileEntry
from edgegen.bench.choose import choose
from edgegen.bench.result import result_schema
from edgegen.bench.summary import fallback_notes, junit_xml, summary_markdown
from edgegen.core.digests import canonical_json
from edgegen.core.errors import BuildError, ExitCode
from edgegen.core.stages import Finished

BUNDLE = Written(
    digest="sha256:" + "a7" * 32, files=(FileEntry(path="model.onnx", sha256="3c" * 32, size_bytes=91_000),)
)
STAGE = Finished(name="train", key="k", record={}, files={}, seconds=1.23456, cached=True)
FULL_DISK = BuildError("the disk is full", where="build", got="ENOSPC", next_step="free some space")
STRICT = {**TABLE, "psnr_db": {"min": 48}, "latency": {"max_ms": 25}}


def failing(**changes):
    made = choose(candidates(), budgets(STRICT), PROFILE)
    return document(choice=made, exit_code=ExitCode.BUDGET_FAILED, **changes)


DOCUMENTS = {
    "ships": lambda: document(bundle=BUNDLE, stages=[STAGE]),
    "fails": failing,
    "breaks": lambda: document(choice=None, training=None, exit_code=ExitCode.BUILD, error=FULL_DISK),
    "nothing built": lambda: document(
        choice=choose([candidate(status="not built", why_rejected="no wheel", size=None)], budgets(), PROFILE)
    ),
    "writes": lambda: document(training=training(sample_text="In the |beginning")),
    "no budgets": lambda: document(choice=choose(candidates(), {}, PROFILE)),
}


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(result_schema())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_kind_of_document_fits_the_schema_and_json(name):
    made = DOCUMENTS[name]()
    Draft202012Validator(result_schema()).validate(made)
    assert json.loads(canonical_json(made)) == made


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema_version", 2),
        ("exit_code", 9),
        ("verdicts", [{"budget": "size"}]),
        ("chosen", {"candidate": "x"}),
        ("quality", {}),
        ("stages", [{"name": "train", "seconds": -1, "cached": True}]),
        ("candidates", [{"name": "x"}]),
    ],
)
def test_the_schema_refuses_what_is_no_result(path, value):
    assert not Draft202012Validator(result_schema()).is_valid(document() | {path: value})


def test_a_shipping_document_names_bundle_files_and_figures():
    made = document(bundle=BUNDLE, stages=[STAGE])
    assert made["chosen"]["bundle_digest"] == BUNDLE.digest
    assert made["chosen"]["files"] == [{"path": "model.onnx", "sha256": "3c" * 32, "size_bytes": 91_000}]
    assert made["latency"]["counted"]["instructions"] == 878_550
    assert made["latency"]["measured"] is None
    assert made["memory"]["size_bytes"] == 95_100
    assert made["memory"]["flash_bytes"] is None
    assert made["quality"]["paired"]["psnr_db_worst5"] == 25.2
    assert made["stages"] == [{"name": "train", "seconds": 1.235, "cached": True}]
    assert made["closest"] is None


def test_a_failing_document_chooses_nothing_and_names_the_closest():
    made = failing()
    assert made["chosen"] is None
    assert made["closest"]
    assert made["quality"]["paired"] == {}


def test_what_was_not_measured_is_said():
    said = " | ".join(document()["not_measured"])
    for word in ("wall-clock latency", "never fitted", "energy", "budget latency: unverified"):
        assert word in said


def test_a_figure_that_is_not_finite_becomes_null():
    broken = candidate(quality={"paired": {"psnr_db_mean": float("inf"), "cosine_mean": float("nan")}})
    made = document(choice=choose([broken], budgets(), PROFILE))
    assert made["candidates"][0]["quality"]["paired"] == {"psnr_db_mean": None, "cosine_mean": None}


def test_the_summary_holds_verdicts_candidates_and_digest():
    found = document(bundle=BUNDLE)
    text = summary_markdown(found)
    assert BUNDLE.digest in text
    assert "ships for raspberrypi4" in text
    assert len(found["tournament"]) > 1
    assert text.count("\n| ") == 5 + len(candidates()) + len(found["tournament"]) + 3  # rows and three heads
    assert "the disk is full" in summary_markdown(DOCUMENTS["breaks"]())


def test_the_summary_warns_of_what_fell_to_other_kernels_than_xnnpacks():
    figures = {
        "xnnpack": {"XNNConv2d": 3},
        "fallback": {"aten::a.out": 1, "aten::b.out": 4, **dict.fromkeys("cdef", 1)},
    }
    told = {"step": "to pte", "form": "pte", "before": {}, "after": {}, "changed": [], "figures": figures}
    made = document(choice=choose([candidate(passes=(told,))], budgets(), PROFILE))
    (note,) = fallback_notes(made)
    assert "9 of 12 operators fell to ExecuTorch's own kernels" in note
    assert note.endswith("aten::b.out, aten::a.out, c, d, …")
    assert "9 of 12 operators" in summary_markdown(made)
    assert fallback_notes(document()) == []


def test_foreign_text_cannot_break_the_summary_nor_the_xml():
    hostile = "a|b\n<script>`x` \x00\x1b ]]> \ud800"
    made = document(choice=choose([candidate(status="failed", why_rejected=hostile)], budgets(), PROFILE), name=hostile)
    row = next(line for line in summary_markdown(made).splitlines() if line.startswith("| static-int8"))
    assert row.count("|") - row.count("\\|") == 6
    assert "<script>" not in row
    ET.fromstring(junit_xml([made | {"target_requested": hostile.replace("\ud800", "")}]))


def test_junit_has_a_case_a_verdict_and_a_suite_a_target():
    root = ET.fromstring(junit_xml([document(), failing(), DOCUMENTS["breaks"]()]))
    counts = [[suite.get(key) for key in ("tests", "failures", "errors", "skipped")] for suite in root]
    assert counts == [["5", "0", "0", "1"], ["5", "1", "1", "0"], ["1", "0", "1", "0"]]
    kinds = {case.get("name"): [child.tag for child in case] for case in root[1]}
    assert kinds["psnr_db"] == ["failure"]
    assert kinds["latency"] == ["error"]
    assert kinds["size"] == []


def test_the_choice_of_a_document_is_made_once():
    assert document()["chosen"]["candidate"] == choice().chosen.name
