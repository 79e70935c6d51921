import base64
import re
import struct
import subprocess
import sys
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
from example_build import PROFILE, budgets, candidate, document, images
from hypothesis import given, settings
from hypothesis import strategies as st
from test_result_document import BUNDLE, DOCUMENTS

from edgegen.bench.choose import choose
from edgegen.bench.images import png_uri, side_by_side
from edgegen.bench.labels import Box, place_labels
from edgegen.bench.report import render_report

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


def test_foreign_text_is_escaped():
    hostile = "<img src=x onerror=alert(1)>\"'&"
    made = candidate(status="failed", why_rejected=hostile, changed=(hostile,), alarms=(hostile,), instructions=None)
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
