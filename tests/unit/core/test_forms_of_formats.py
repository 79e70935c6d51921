"""What a format's file is made from, and which files stand beside it."""

from __future__ import annotations

import pytest

from edgegen.core.models import FILES_BESIDE, files_beside, form_of


@pytest.mark.parametrize(
    ("format_name", "forms", "form"),
    [
        ("onnx", None, "onnx"),
        ("ort", None, "onnx"),
        ("ort", ("litert",), "onnx"),  # cannot be had: the plan says so
        ("c", None, "litert"),
        ("c", ("onnx", "litert"), "litert"),
        ("c", ("onnx",), "onnx"),
    ],
)
def test_form_of_a_format_is_one_that_the_model_can_be_had_in(
    format_name: str, forms: tuple[str, ...] | None, form: str
) -> None:
    assert form_of(format_name, forms) == form


def test_one_source_stands_beside_c() -> None:
    assert files_beside("c", {"source.onnx"}) == (*FILES_BESIDE["c"], "source.onnx")
    assert files_beside("c", {"source.tflite", "source.onnx"}) == (*FILES_BESIDE["c"], "source.tflite")
    assert files_beside("c", ()) == (*FILES_BESIDE["c"], "source.tflite")  # so that it is missed
    assert files_beside("ort", ()) == FILES_BESIDE["ort"]
    assert files_beside("onnx", ()) == ()
