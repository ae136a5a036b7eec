"""Measure the page in a browser: ``python -m tests.serve.dashboard.figures``.

A year of bars is on the server. Prints when the first text and the first candles were painted, and
how many frames were late while ten bars a second came.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from tests.serve.conftest import walk
from tests.serve.dashboard.browser import started, visit
from tests.serve.dashboard.scene import START_S, Market, dated, served
from tests.serve.several import bundles_for

YEAR: Final = 105_120
PER_S: Final = 10
SECONDS: Final = 10
LATE_MS: Final = 50.0
OPENED: Final = 5

VIEW: Final = (
    "performance.getEntriesByType('resource')"
    ".find(entry => entry.name.includes('/view?'))?.responseEnd"
)
FRAMES: Final = """() => {
  window.frames_ms = [];
  let last = performance.now();
  const note = now => {
    window.frames_ms.push(now - last);
    last = now;
    requestAnimationFrame(note);
  };
  requestAnimationFrame(note);
}"""


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name, started() as browser:
        folder = Path(name)
        (bundle,) = bundles_for(folder / "bundles", ["TEST"])
        free: dict[str, Any] = {"token_digest": None, "admin_digest": None}
        with served(bundle, folder, 0, **free) as scene:
            bars = walk(YEAR + 2 * PER_S * SECONDS, seed=7)
            market = Market(scene.client, bars=dated(bars, START_S - YEAR * 300))
            market.feed(YEAR)
            painted = []
            for _ in range(OPENED):
                with visit(browser, scene) as visitor:
                    page = visitor.open(token=None)
                    entries = page.evaluate(
                        "performance.getEntriesByType('paint').map(e => [e.name, e.startTime])"
                    )
                    view = page.evaluate(VIEW)
                    painted.append({**dict(entries), "view": view})
            with visit(browser, scene) as visitor:
                page = visitor.open(token=None)
                page.evaluate(FRAMES)
                for _ in range(PER_S * SECONDS):
                    begun = time.monotonic()
                    market.feed(1)
                    time.sleep(max(0.0, 1.0 / PER_S - (time.monotonic() - begun)))
                frames = page.evaluate("window.frames_ms")
            late = sum(each > LATE_MS for each in frames)
            print(
                json.dumps({"painted_ms": painted, "frames": len(frames), "late": late}, indent=1)
            )


if __name__ == "__main__":
    main()
