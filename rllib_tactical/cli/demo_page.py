"""The end of the demo: the last bars traded on paper, and the service's page as a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.service import ServiceConfig
from rllib_tactical.data.dataset import DataSource
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.live.run import PaperRequest, run_paper
from serve.dashboard.picture import find_browser, take_picture

REPLAY: Final = TacticalConfig(service=ServiceConfig(live_bars=False, max_bar_age_s=1e9))
"""Configuration of a service whose bars are of the past."""

SHOWN_BARS: Final = 300
SESSION: Final = "paper"
PICTURE: Final = "page.png"


def show_page(
    url: str,
    token: str | None,
    bundle: Bundle,
    source: DataSource,
    history: MarketHistory,
    out: Path,
    log: Callable[[str], None],
) -> None:
    """Trade the last bars with a fresh service, and keep a picture of its page in ``out``.

    Args:
        url: of the service, which is configured as ``REPLAY``.
        token: that it asks for, None for none.
        bundle: that it decides with.
        source: the bars.
        history: what was read of them.
        out: folder of the demo.
        log: prints a line.

    Raises:
        TacticalError: the service refuses what it is sent.
    """
    first = max(history.first_decision, len(history) - SHOWN_BARS)
    request = PaperRequest(
        bundle=bundle,
        url=url,
        token=token,
        data=source.path,
        out=out / SESSION,
        options=source.options,
        start_s=int(history.bars.timestamp_s[first]),
        with_baselines=False,
        with_statistics=False,
    )
    run_paper(request)
    browser = find_browser()
    if token is not None:
        log("no picture of the operator's page: it would ask for the token")
    elif browser is None:
        log("no picture of the operator's page: no Chromium here; tactical serve shows it live")
    elif take_picture(f"{url}/", out / PICTURE, browser):
        log(f"the operator's page, after {len(history) - first} bars on paper: {out / PICTURE}")
    else:
        log("no picture of the operator's page: the browser took none")
