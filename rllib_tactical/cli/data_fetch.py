"""The command ``data fetch``: klines from a public archive of monthly files."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import click
import httpx

from rllib_tactical import __version__
from rllib_tactical.cli.data_output import print_report, require_output
from rllib_tactical.data.binance.archive import (
    FUTURES_BASE_URL,
    INTERVAL_SECONDS,
    SPOT_BASE_URL,
    Month,
    month_range,
    month_url,
    parse_month,
    read_month,
)
from rllib_tactical.data.binance.download import Downloader, locked_folder
from rllib_tactical.data.files import table_writer
from rllib_tactical.data.interpret.series import read_series
from rllib_tactical.data.quality.rules import check_columns
from rllib_tactical.runtime.progress import Update, show_progress


@click.command("fetch")
@click.option("--symbol", required=True, help="As the archive writes it, such as BTCUSDT.")
@click.option("--interval", type=click.Choice(list(INTERVAL_SECONDS)), default="5m")
@click.option("--from", "first", required=True, metavar="YYYY-MM", help="First month.")
@click.option("--to", "last", required=True, metavar="YYYY-MM", help="Last month.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File to write.")
@click.option(
    "--base-url",
    default=FUTURES_BASE_URL,
    show_default=True,
    help=f"Folder of the symbols. Spot: {SPOT_BASE_URL}",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Folder that keeps the downloaded months.  [default: in the user's cache folder]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def fetch_command(
    ctx: click.Context,
    symbol: str,
    interval: str,
    first: str,
    last: str,
    out: Path,
    base_url: str,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Download crypto klines month by month, verify them and write one file of bars.

    Each month is verified against its published SHA-256 and kept in the cache; a later call
    downloads only what is missing and continues an interrupted download. The file is checked like
    `data check` does; it is written also when the archive's data break rules, and the exit code is
    1 then. 1-minute klines become 5-minute bars with `data import`.
    """
    months = month_range(parse_month(first, "--from"), parse_month(last, "--to"))
    urls = {month: month_url(base_url, symbol, interval, month) for month in months}
    require_output(out)
    folder = _cache_folder(cache, base_url) / symbol / interval
    with locked_folder(folder), show_progress() as update:
        downloaded = _download(urls, folder, update)
        # One month is in memory at a time.
        with table_writer(out) as write:
            for number, month in enumerate(months):
                update(f"reading {month}", number / len(months))
                write(read_month(folder / _name(urls[month]), month))
        update("checking", 1.0)
        report = check_columns(read_series(out).columns, bar_seconds=INTERVAL_SECONDS[interval])
    if as_json:
        document = {
            "out": str(out),
            "symbol": symbol,
            "interval": interval,
            "months": [str(month) for month in months],
            "downloaded": downloaded,
            "cache": str(folder),
            **report.to_dict(),
        }
        click.echo(json.dumps(document, indent=2))
    else:
        print_report(out, report)
        click.echo(f"{len(months)} months, {downloaded} downloaded, kept in {folder}")
    if report.errors:
        ctx.exit(1)


def _download(urls: dict[Month, str], folder: Path, update: Update) -> int:
    """Bring every month into ``folder``; return how many were not there."""
    downloaded = 0
    # Proxies are the user's, as the environment names them. No limit on the whole download: the
    # read timeout ends one that has stalled, and retries take it up again.
    with httpx.Client(
        timeout=httpx.Timeout(30.0, connect=10.0),
        headers={"User-Agent": f"rllib-tactical/{__version__}"},
    ) as client:
        downloader = Downloader(client)
        for number, (month, url) in enumerate(urls.items()):

            def report(done: int, size: int | None, at: int = number, what: Month = month) -> None:
                share = done / size if size else 0.0
                update(f"downloading {what}, {done / 2**20:.1f} MiB", (at + share) / len(urls))

            downloaded += downloader.fetch(url, folder / _name(url), report)
    return downloaded


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def _cache_folder(cache: Path | None, base_url: str) -> Path:
    """Return the folder for one archive: spot and futures files have the same names."""
    if cache is None:
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = Path(root) / "rllib-tactical" / "klines"
    return cache / re.sub(r"[^A-Za-z0-9.-]+", "_", base_url.partition("://")[2].strip("/"))
