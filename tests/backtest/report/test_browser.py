"""The report in a real browser, at the sizes of a laptop's screen and of a phone's."""

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
from rllib_tactical.reporting.format import dollars

pytestmark = pytest.mark.slow

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
  parent.postMessage(mark.textContent, "*");
}, 500));
</script>"""

PHONE_WIDTH = 390
# browsers have a smallest window that is wider than a phone, frames have none
FRAME = """<body>
<iframe src="report.html" style="width: {width}px; height: 844px; border: 0"></iframe>
<script>
window.addEventListener("message", event => {{
  const mark = document.createElement("p");
  mark.id = "probe";
  mark.textContent = event.data;
  document.body.appendChild(mark);
}});
</script></body>"""


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


def test_trades_are_filtered_and_sorted(
    browser: str, comparison: Comparison, tmp_path: Path
) -> None:
    """What the script of the table shows after a search for shorts and a click on P&L."""
    page = tmp_path / "report.html"
    acts = """<script>
      const search = document.getElementById("trades-filter");
      search.value = "short";
      search.dispatchEvent(new Event("input"));
      const titles = [...document.querySelectorAll("#trades th button")];
      titles.find(title => title.textContent === "P&L").click();
    </script></body>"""
    html = render_report(comparison, ReportContext("Backtest of random votes"))
    page.write_text(html.replace("</body>", acts, 1))
    document = call(browser, tmp_path / "profile", page, "--dump-dom")
    (body,) = re.findall(r'<table id="trades".*?<tbody>(.*?)</tbody>', document, re.DOTALL)
    rows = [re.findall(r"<td.*?>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", body)]
    trades = comparison.policy.result.trades
    shorts = trades[trades["side"] == "short"].sort_values("pnl", ascending=False)
    assert {row[2] for row in rows} == {"short"}
    assert [row[7] for row in rows] == [dollars(value) for value in shorts["pnl"].head(200)]
    assert f"{len(shorts)} of {len(trades)}" in document


def test_the_report_is_drawn_and_fits_a_laptop_and_a_phone(
    browser: str, comparison: Comparison, tmp_path: Path, project_root: Path
) -> None:
    page = tmp_path / "report.html"
    html = render_report(comparison, ReportContext("Backtest of random votes"))
    page.write_text(html.replace("</head>", PROBE + "</head>", 1))
    document = call(
        browser, tmp_path / "profile", page, f"--window-size={WIDTH},{HEIGHT}", "--dump-dom"
    )
    assert re.findall(r"<title>(.*?)</title>", document)[0] == "Backtest of random votes"
    ((drawn, too_wide),) = re.findall(r'id="probe">drawn (\d+) too-wide (\d+)', document)
    assert int(drawn) == html.count('<div id="') == 11
    assert int(too_wide) == 0

    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(width=PHONE_WIDTH))
    document = call(browser, tmp_path / "profile", frame, "--window-size=800,900", "--dump-dom")
    ((drawn, too_wide),) = re.findall(r'id="probe">drawn (\d+) too-wide (\d+)', document)
    assert (int(drawn), int(too_wide)) == (11, 0)

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
