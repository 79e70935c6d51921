"""The report as Chromium lays it out: nothing sticks out at the sides, nothing is fetched, nothing goes wrong."""

import html
import json
import os
import re
import shutil
import subprocess

import pytest
from example_build import document, images
from test_result_document import BUNDLE, STAGE, failing

from edgegen.bench.report import render_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def named_at_length():
    """A result whose operators have names as converters write them."""
    made = document(bundle=BUNDLE)
    for item in made["candidates"]:
        for operator in (item["counted"] or {}).get("per_operator") or ():
            operator["name"] = "torch.nn.modules.container.Sequential_inner" * 5
    return made


PAGES = {
    "long names": lambda: render_report(named_at_length(), images()),
    "ships": lambda: render_report(document(bundle=BUNDLE, stages=[STAGE]), images()),
    "fails": lambda: render_report(failing(), images()),
}
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # what the browser asks for by itself leads nowhere
    "--enable-logging=stderr",
    "--hide-scrollbars",
    "--window-size=1400,1000",
    "--virtual-time-budget=4000",
    "--dump-dom",
)
# Written into a copy of the page, for the page itself allows no script: what it says is read from the copy's text.
PROBE = """<script>
const refused = [];
document.addEventListener("securitypolicyviolation", event => refused.push(event.blockedURI));
addEventListener("load", () => setTimeout(() => {
  const width = document.documentElement.clientWidth;
  const wide = [...document.querySelectorAll("body *")].filter(item => {
    const box = item.getBoundingClientRect();
    const hides = getComputedStyle(item).overflowX !== "visible" && item.clientWidth > 0;
    return box.width && (box.right > width + 0.5 || box.left < -0.5 || hides && item.scrollWidth > item.clientWidth);
  });
  parent.postMessage({
    window: innerWidth,
    page: document.documentElement.scrollWidth,
    wide: wide.map(item => item.tagName + "." + item.getAttribute("class")).slice(0, 9),
    refused,
    fetched: performance.getEntriesByType("resource").map(item => item.name).filter(name => !name.startsWith("data:")),
  }, "*");
}, 200));
</script>"""
# Chromium makes no window narrower than 500 pixels, but a frame can be of any width.
FRAME = """<!doctype html><iframe src="page.html" style="width: {width}px; height: 900px; border: 0"></iframe>
<pre id="found"></pre><script>
addEventListener("message", event => {{ document.getElementById("found").textContent = JSON.stringify(event.data); }});
</script>"""


@pytest.fixture(scope="module")
def browser():
    found = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if found is None:
        reason = "no Chromium is installed: apt-get install --no-install-recommends chromium"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return found


def visited(browser, folder, page, width, *, guarded=True):
    """What a look at the page shows: sizes and requests from a copy with the probe in it, and the browser's log.

    With ``guarded`` false the page's own policy, which forbids every request, is taken out first.
    """
    folder.mkdir()
    assert POLICY in page
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', page)[0]
    # The policy must come first, for it binds only what follows.
    first = policy.replace(POLICY, f"{POLICY}; script-src 'unsafe-inline'") if guarded else ""
    copy = page.replace(policy, "", 1).replace("<head>", f"<head>{first}{PROBE}", 1)
    (folder / "page.html").write_text(copy, encoding="utf-8")
    (folder / "frame.html").write_text(FRAME.format(width=width), encoding="utf-8")
    traffic = folder / "traffic.json"
    done = subprocess.run(
        [
            browser,
            *OPTIONS,
            f"--user-data-dir={folder / 'profile'}",
            f"--log-net-log={traffic}",
            (folder / "frame.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    said = re.search(r'<pre id="found">(.+?)</pre>', done.stdout)
    assert said, done.stderr[-2000:]
    # What the browser asks for by itself has no origin.
    asked = re.findall(r'"initiator":"([^"]*)".*?"url":"([^"]*)"', traffic.read_text(encoding="utf-8"))
    requested = [url for origin, url in asked if origin != "not an origin" and not url.startswith(("file:", "data:"))]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(said[1])) | {"requested": requested, "console": console}


@pytest.mark.parametrize("width", [360, 840, 1200])
@pytest.mark.parametrize("name", PAGES)
def test_a_report_fits_the_window_and_asks_for_nothing(browser, tmp_path, name, width):
    found = visited(browser, tmp_path / "visit", PAGES[name](), width)
    assert found["window"] == width
    assert found["page"] <= width
    assert found["wide"] == []
    assert (found["fetched"], found["refused"], found["console"]) == ([], [], [])
    assert found["requested"] == []


def test_what_sticks_out_or_would_be_fetched_is_seen(browser, tmp_path):
    address = "http://127.0.0.1:9/x.png"
    page = PAGES["ships"]().replace(
        "</header>", f'<p style="width: 3000px">wide</p><img src="{address}" alt=""></header>', 1
    )
    found = visited(browser, tmp_path / "guarded", page, 360)
    assert found["page"] > 360
    assert found["wide"]
    assert found["refused"] == [address]
    assert found["console"]
    assert found["requested"] == []
    assert address in visited(browser, tmp_path / "bare", page, 360, guarded=False)["requested"]
