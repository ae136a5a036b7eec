"""The report in a real browser, at the size of a laptop's screen."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from rllib_tactical.backtest.comparison import Comparison
from rllib_tactical.backtest.report.html_report import render_report
from rllib_tactical.backtest.report_context import ReportContext

WIDTH, HEIGHT = 1366, 768
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

# the page's own errors, and whether it is wider than the screen, as text in the document
PROBE = """<script>
window.addEventListener("error", event => { document.title = "error: " + event.message; });
window.addEventListener("load", () => setTimeout(() => {
  const wide = document.documentElement.scrollWidth - window.innerWidth;
  const plots = [...document.querySelectorAll(".js-plotly-plot")];
  const drawn = plots.filter(plot => plot.querySelector(".main-svg")).length;
  const mark = document.createElement("p");
  mark.id = "probe";
  mark.textContent = "drawn " + drawn + " too-wide " + Math.max(0, wide);
  document.body.appendChild(mark);
}, 500));
</script>"""


@pytest.fixture(scope="module")
def browser() -> str:
    for name in BROWSERS:
        found = shutil.which(name)
        if found:
            return found
    pytest.skip(f"no browser here: none of {', '.join(BROWSERS)} is on the path")


def call(browser: str, profile: Path, page: Path, *arguments: str) -> str:
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--disable-dev-shm-usage", f"--user-data-dir={profile}", "--virtual-time-budget=6000",
        *arguments, page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_report_is_drawn_and_fits_a_laptop_screen(
    browser: str, comparison: Comparison, tmp_path: Path, project_root: Path
) -> None:
    page = tmp_path / "report.html"
    html = render_report(comparison, ReportContext("Backtest of random votes"))
    page.write_text(html.replace("</head>", PROBE + "</head>", 1))
    document = call(
        browser, tmp_path / "profile", page, f"--window-size={WIDTH},{HEIGHT}", "--dump-dom"
    )
    assert re.search(r"<title>(.*?)</title>", document)[1] == "Backtest of random votes"
    probe = re.search(r'id="probe">drawn (\d+) too-wide (\d+)', document)
    assert int(probe[1]) == html.count('<div id="') == 11
    assert int(probe[2]) == 0

    # kept for people to look at where CI_ARTIFACTS names a folder
    folder = Path(os.environ.get("CI_ARTIFACTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    for name, height in (("report-screen.png", HEIGHT), ("report-whole.png", 4_400)):
        picture = folder / name
        call(
            browser, tmp_path / "profile", page,
            f"--window-size={WIDTH},{height}", f"--screenshot={picture}",
        )  # fmt: skip
        with Image.open(picture) as image:
            assert image.size == (WIDTH, height)
            colors = image.convert("RGB").getcolors(1 << 24)
        assert colors is not None
        assert len(colors) > 50, "the picture is empty"
