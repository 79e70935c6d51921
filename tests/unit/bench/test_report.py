import base64
import html
import re
import struct
import subprocess
import sys
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
from example_build import PROFILE, budgets, calibration, candidate, document, images, told, training
from hypothesis import given, settings
from hypothesis import strategies as st
from test_result_document import BUNDLE, DOCUMENTS, failing

from edgegen.bench.choose import choose
from edgegen.bench.images import png_uri, side_by_side
from edgegen.bench.labels import Box, leader, place_labels
from edgegen.bench.report import render_report
from edgegen.bench.summary import alternatives
from edgegen.bench.view import calibration_rows, operator_rows, quality_rows, verdict_rows
from edgegen.bench.wording import band

VOID = {"meta", "img", "br", "wbr", "link", "hr", "input"}


class Page(HTMLParser):
    """Collects tags and attributes, and what is left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_kind_of_document_gives_a_page_that_loads_nothing(name):
    text = render_report(DOCUMENTS[name](), images())
    page = Page(text)
    assert page.open == []
    assert not {"script", "link", "iframe", "object", "embed", "form"} & set(page.tags)
    for _, attribute, value in page.attributes:
        if attribute in ("src", "href", "xlink:href"):
            assert value.startswith(("data:image/png;base64,", "#"))
        assert not attribute.startswith("on")
    assert not re.search(r"url\((?!#)|@import", text)
    assert "default-src 'none'" in text


def test_a_page_is_equal_byte_for_byte_when_made_again():
    made = document(bundle=BUNDLE)
    assert render_report(made, images()) == render_report(made, images())


def test_a_page_holds_the_headline_the_digest_the_alarms_and_what_was_not_measured():
    text = re.sub(r"<wbr>", "", render_report(document(bundle=BUNDLE), images(), device="Raspberry Pi 4"))
    assert "distilled+static-int8@litert ships for raspberrypi4: it keeps all 4 required budgets" in text
    for words in (BUNDLE.digest, "Raspberry Pi 4", "alarm", "energy: not measured", "FID-like", "difference ×", "ELBO"):
        assert words in text
    for kind in ("measured", "counted", "predicted", "quality", "exact"):
        assert f'class="chip kind {kind}"' in text


def plain(page: str) -> str:
    """The text of a page on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.replace("<wbr>", ""))).split())


def test_the_first_screen_says_what_was_judged_what_is_open_and_what_else_could_ship():
    text = plain(render_report(document(bundle=BUNDLE)).partition("</header>")[0])
    for words in (
        "instructions counted pass 878,550 ≤ 3,000,000",
        "peak RAM counted pass 29.56 MiB ≤ 64.00 MiB",
        "PSNR, worst 5 % quality pass 25.2 dB ≥ 25 dB",
        "Run on an emulated cortex-a72 core, not yet on a device",
        "latency, not required, is unverified: the cost model was never fitted to a device",
        "Against float32@litert: 89.6 % smaller file, 76.4 % fewer instructions, PSNR against float 29.4 dB",
    ):
        assert words in text


def test_the_first_screen_says_why_a_required_budget_could_not_be_judged():
    made = failing()
    (reason,) = (item["reason"] for item in made["verdicts"] if item["budget"] == "latency")
    assert reason in plain(render_report(made).partition("</header>")[0])


def test_a_smaller_file_that_keeps_every_budget_too_is_named_with_its_price():
    big = candidate("pruned@litert", size=218_000, instructions=731_000)
    small = candidate("pruned+static-int8@litert", size=67_900, instructions=748_000)
    smaller = candidate("pruned+static-int8@onnx", size=67_600, instructions=1_170_000)
    said = alternatives(document(choice=choose([big, small, smaller], budgets(), PROFILE)))
    assert len(said) == 1
    assert said[0].startswith(
        "Keeps every budget too, with a smaller file: pruned+static-int8@litert: 68.9 % smaller file, 2.3 % more inst"
    )


def test_a_prediction_is_shown_as_its_band_only():
    row = next(row for row in verdict_rows(document()) if row["kind"] == "predicted")
    low, high = (document()["latency"]["predicted"][key] for key in ("low_ms", "high_ms"))
    assert row["value"] == band(low, high)
    assert row["from"] < row["to"]
    assert (band(0.167, 1.0), band(3.04, 83.2), band(40, 99.7)) == ("0.17 to 1.0 ms", "3.0 to 83 ms", "40 to 100 ms")


def not_by_operator(made, *formats):
    """A result whose candidates of these formats were counted as a whole."""
    for item in made["candidates"]:
        if item["format"] in formats and item["counted"]:
            item["counted"] |= {"per_operator": None, "unexplained_ratio": None}
    return made


def test_a_candidate_that_was_not_counted_by_operator_shows_its_onnx_sibling_and_says_so():
    made = not_by_operator(document(), "litert")
    found = operator_rows(made)
    assert made["chosen"]["candidate"] == "distilled+static-int8@litert"
    assert (found["of"], found["own"], found["same_recipe"]) == ("distilled+static-int8@onnx", False, True)
    assert [row["share"] for row in found["rows"]] == [55.0, 20.0, 11.0, 6.0]
    text = plain(render_report(made))
    assert "distilled+static-int8@litert was counted as a whole" in text
    assert "985,000 instructions in all, 1.12 times those of distilled+static-int8@litert" in text
    assert "(8.0 %) lie outside the operators" in text


def test_operators_are_the_candidates_own_where_it_has_them_and_missing_where_nobody_has():
    only = choose([candidate("float32@onnx")], budgets(), PROFILE)
    assert operator_rows(document(choice=only))["own"]
    none = not_by_operator(document(choice=choose([candidate("float32@litert")], budgets(), PROFILE)), "litert")
    assert operator_rows(none)["rows"] == []
    assert "No candidate was counted by operator" in plain(render_report(none))


def test_operators_are_shown_where_their_instructions_are_not_told_apart():
    """As on a microcontroller."""
    made = document()
    for item in made["candidates"]:
        if item["counted"]:
            item["counted"]["by_class"] = {}
    text = plain(render_report(made))
    assert "Where the instructions go" in text
    assert "By operator" in text


def test_operators_with_products_have_their_place_under_the_roof():
    found = operator_rows(document())
    assert [bool(row["roof"]) for row in found["rows"]] == [True, True, False, False]
    bare = document()
    for item in bare["candidates"]:
        for operator in (item["counted"] or {}).get("per_operator") or ():
            operator.pop("roof_ratio", None)
    assert not operator_rows(bare)["roofs"]
    assert "of the roof" not in plain(render_report(bare))


def test_training_figures_stand_beside_real_data_both_kinds_of_seeds_and_a_simple_model():
    text = plain(render_report(document()))
    assert "FID-like what fid says; lower is better" in text
    assert "4.71 0.854 0.99 1.9 " in text
    for name in ("ELBO", "reconstruction", "KL", "PSNR", "SSIM", "MSE", "KID", "density", "coverage"):
        assert name in text
    assert "20.7 dB" in text
    assert "20.5 to 20.9" in text
    assert "; simple model: PCA, 16 components, 12.2 KiB" in text
    assert "18.9 dB" in text


@pytest.mark.parametrize("missing", ["real", "draws", "seeds", "baseline"])
def test_training_columns_are_left_out_where_nothing_is_known(missing):
    figures = [{**item, missing: None} for item in training()["figures"]]
    text = plain(render_report(document(training=training(figures=figures))))
    title = {"real": "real data", "draws": "between draws", "seeds": "between trainings", "baseline": "simple model"}
    assert title[missing] not in text
    assert "4.71" in text
    assert ("No second model was trained" in text) is (missing == "seeds")


def test_a_confusion_matrix_and_notes_are_shown():
    confusion = {"classes": ["walk", "run"], "counts": [[40, 2], [5, 53]]}
    page = render_report(document(training=training(confusion=confusion, notes=["one take a word"])))
    assert "walk 40 2" in plain(page)
    assert "one take a word" in plain(page)
    assert "--share: 0.914" in page


def test_what_a_model_wrote_is_shown_as_text():
    page = render_report(document(training=training(sample_text="In the <b>|beginning")))
    assert "In the &lt;b&gt;|beginning</pre>" in page
    assert "What the model writes" not in render_report(document())


def test_curves_are_drawn_where_there_is_more_than_one_epoch():
    assert "loss over 3 epochs" in render_report(document())
    assert "over 1 epochs" not in render_report(document(training=training(history=[{"loss": 1.0}])))


def test_the_worst_of_yes_and_no_is_not_shown():
    paired = {"task": {"top1_agreement_ratio_mean": 0.953, "top1_agreement_ratio_worst5": 0.0}}
    made = document(choice=choose([candidate("float32@onnx", quality=paired)], {}, PROFILE))
    (part,) = quality_rows(made)
    assert [(row["mean"], row["worst5"]) for row in part["rows"]] == [("0.953", "")]


def test_foreign_text_is_escaped():
    hostile = "<img src=x onerror=alert(1)>\"'&"
    made = candidate(
        status="failed", why_rejected=hostile, passes=(told("float16", hostile),), alarms=(hostile,), instructions=None
    )
    rows = choose([made, candidate(f"{hostile}@onnx"), candidate("b@onnx")], budgets(), PROFILE)
    text = render_report(
        document(choice=rows, name=hostile, environment={hostile: hostile}, not_measured=[hostile]), device=hostile
    )
    page = Page(text)
    assert "<img src=x" not in text
    assert not [item for item in page.attributes if item[1].startswith("on")]


def test_a_report_without_images_or_counts_is_still_a_page():
    bare = choose(
        [candidate(instructions=None, psnr=None), candidate("float16@onnx", instructions=None)], budgets(), PROFILE
    )
    assert "<h1>" in render_report(document(choice=bare, training=None, environment={}))
    assert side_by_side(np.zeros((4, 10)), np.zeros((4, 10))) is None
    assert side_by_side(np.zeros((4, 1, 8, 8)), np.zeros((4, 1, 9, 8))) is None
    assert side_by_side(np.zeros((4, 2, 8, 8)), np.zeros((4, 2, 8, 8))) is None


def decoded(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    assert depth == 8
    channels = {0: 1, 2: 3}[colour]
    start = data.index(b"IDAT")
    length = struct.unpack(">I", data[start - 4 : start])[0]
    body = data[start + 4 : start + 4 + length]
    assert struct.unpack(">I", data[start + 4 + length : start + 8 + length])[0] == zlib.crc32(b"IDAT" + body)
    rows = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, 1 + width * channels)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, channels).squeeze()


def test_a_png_holds_the_pixels_that_were_given():
    generator = np.random.default_rng(1)
    for shape in ((5, 7), (4, 3, 3)):
        pixels = generator.integers(0, 256, shape).astype(np.uint8)
        assert np.array_equal(decoded(png_uri(pixels)), pixels)


def test_the_samples_that_differ_most_come_first():
    exact = np.full((20, 1, 6, 6), 0.5)
    other = exact.copy()
    other[13] += 0.25
    made = side_by_side(exact, other)
    assert made is not None
    assert (made.shown, made.total, made.worst) == (16, 20, 4)
    mosaic = decoded(made.candidate)
    assert mosaic[0, 0] == round(0.75 * 255)
    assert made.gain == 4


def test_equal_samples_are_not_amplified():
    made = side_by_side(images()["float"], images()["float"])
    assert made is not None
    assert made.gain == 1


def test_no_line_to_a_label_crosses_another_label():
    anchors = [(300 + 3 * step, 200 + 2 * (step % 3)) for step in range(14)]
    places = place_labels(
        anchors, [(90, 14)] * len(anchors), [6] * len(anchors), Box(left=0, bottom=0, right=600, top=400)
    )
    placed = [(anchor, box) for anchor, box in zip(anchors, places, strict=True) if box is not None]
    far = [(anchor, box) for anchor, box in placed if box.far]
    assert far
    for anchor, box in far:
        assert not any(other.crossed_by(leader(anchor, box)) for _, other in placed if other is not box)


def test_a_big_file_does_not_hide_a_small_one_in_the_plot():
    names = {"pruned@litert": (218_000, 731_000), "pruned+static-int8@litert": (67_900, 748_000)}
    made = [candidate(name, size=size, instructions=count) for name, (size, count) in names.items()]
    text = render_report(document(choice=choose(made, budgets(), PROFILE)))
    circles = [found.start() for found in re.finditer(r"fill: var\(--(?:good|plain)\); stroke: var\(--card\)", text)]
    assert len(circles) == 4  # two in the wide form, two in the narrow
    assert "fill: var(--plain)" in text[circles[1] : circles[1] + 40]


@settings(deadline=None, max_examples=50)
@given(anchors=st.lists(st.tuples(st.floats(0, 600), st.floats(0, 400)), min_size=1, max_size=18))
def test_labels_never_cover_one_another_nor_leave_the_plot(anchors):
    bounds = Box(left=0, bottom=0, right=600, top=400)
    placed = [
        box for box in place_labels(anchors, [(90, 14)] * len(anchors), [6] * len(anchors), bounds) if box is not None
    ]
    assert all(box.within(bounds) for box in placed)
    assert not any(left.overlaps(right) for i, left in enumerate(placed) for right in placed[:i])


def test_matplotlib_and_jinja_are_imported_only_when_a_report_is_rendered():
    code = (
        "import sys, edgegen.bench.report, edgegen.bench.summary, edgegen.bench.choose, edgegen.bench.result\n"
        "heavy = {'matplotlib', 'jinja2', 'numpy', 'torch', 'click', 'cyclonedx'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_calibration_tells_how_far_figures_lie_apart_over_draws():
    rows = calibration_rows(document())
    assert (rows["inputs"], rows["draws"], rows["findings"]) == (512, 3, ["one channel never changes"])
    found = {row["name"]: row for row in rows["rows"]}
    assert found["static-int8@onnx"]["figures"][1] == {"name": "PSNR, worst 5 %", "text": "30.8 to 31.9 dB"}
    assert found["static-int8@litert"]["failed"] == "the quantizer failed"
    page = render_report(document())
    assert "30.8 to 31.9 dB" in page
    assert "over 3 such draws" in page
    assert "samples of the training part (watch" in page
    noise = {**calibration(), "set": None}
    assert "draws of the noise" in render_report(document(calibration=noise))
    assert calibration_rows(document(calibration=None)) is None
