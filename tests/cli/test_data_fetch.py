from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from rllib_tactical.cli.data_group import data_group
from rllib_tactical.data.binance.archive import Month
from rllib_tactical.data.files import read_bars
from rllib_tactical.errors import DataError, UnreadableError, UsageError
from tests.data.archive_server import ArchiveServer, Fault, month_csv, serve_archive, zipped

JANUARY, FEBRUARY = Month(2025, 1), Month(2025, 2)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ArchiveServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve_archive() as archive:
        archive.put_month("BTCUSDT", "5m", JANUARY)
        archive.put_month("BTCUSDT", "5m", FEBRUARY, header=False, micros=True)
        yield archive


def options(server: ArchiveServer, folder: Path, out: str = "bars.parquet") -> list[str]:
    return [
        *("fetch", "--symbol", "BTCUSDT", "--from", "2025-01", "--to", "2025-02"),
        *("--base-url", server.url, "--cache", str(folder / "cache"), "--out", str(folder / out)),
    ]


def run(arguments: list[str]) -> Result:
    return CliRunner().invoke(data_group, arguments)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "csv.gz", "feather"])
def test_two_months_become_one_file(server: ArchiveServer, tmp_path: Path, suffix: str) -> None:
    result = run([*options(server, tmp_path, f"bars.{suffix}"), "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.output)
    assert document["months"] == ["2025-01", "2025-02"]
    assert (document["rows"], document["errors"], document["downloaded"]) == (16992, 0, 2)
    bars = read_bars(tmp_path / f"bars.{suffix}")
    assert len(bars) == (31 + 28) * 288
    assert np.all(np.diff(bars.timestamp_s) == 300)
    again = run(options(server, tmp_path, f"bars.{suffix}"))
    assert "2 months, 0 downloaded" in again.output
    assert len(server.requests) == 4


def test_one_minute_klines_can_be_imported(server: ArchiveServer, tmp_path: Path) -> None:
    server.put_month("BTCUSDT", "1m", JANUARY)
    fetched = run([*options(server, tmp_path), "--interval", "1m", "--to", "2025-01"])
    assert fetched.exit_code == 0, fetched.output
    imported = run(["import", str(tmp_path / "bars.parquet"), "--out", str(tmp_path / "five.csv")])
    assert imported.exit_code == 0
    assert len(read_bars(tmp_path / "five.csv")) == 31 * 288


def test_what_the_check_finds_is_reported(server: ArchiveServer, tmp_path: Path) -> None:
    lines = month_csv(JANUARY, header=False).splitlines(keepends=True)
    del lines[100:110]
    lines[50] = lines[49]
    path = "BTCUSDT/5m/BTCUSDT-5m-2025-01.zip"
    server.put(path, zipped("BTCUSDT-5m-2025-01.csv", "".join(lines)))
    result = run([*options(server, tmp_path), "--json"])
    assert result.exit_code == 1
    counts = json.loads(result.output)["counts"]
    assert counts["duplicate_timestamp"] == 1 and counts["missing_bars"] == 2
    assert (tmp_path / "bars.parquet").exists(), "kept, so that --repair can mend it"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (["--to", "2025-03"], UnreadableError, "2025-03.zip.CHECKSUM: not published"),
        (["--to", "2024-12"], UsageError, "lies before the first"),
        (["--from", "2025-1"], UsageError, "expected YYYY-MM"),
        (["--symbol", "a/b"], UsageError, "symbol"),
        (["--base-url", "file:///etc"], UsageError, "base URL"),
        (["--out", "none/b.csv"], UsageError, "no folder"),
        (["--out", "b.xyz"], UsageError, "name must end in"),
        (["--cache", "/dev/null/x"], UsageError, "cache folder"),
    ],
)
def test_user_errors(
    server: ArchiveServer,
    tmp_path: Path,
    change: list[str],
    error: type[Exception],
    message: str,
) -> None:
    result = run([*options(server, tmp_path), *change])
    assert type(result.exception) is error
    assert message in str(result.exception)
    assert not (tmp_path / "bars.parquet").exists()


def test_a_bad_month_leaves_no_output(server: ArchiveServer, tmp_path: Path) -> None:
    path = "BTCUSDT/5m/BTCUSDT-5m-2025-02.zip"
    server.put(path, server.files[path], checksum="0" * 64)
    result = run(options(server, tmp_path))
    assert isinstance(result.exception, DataError)
    assert "BTCUSDT-5m-2025-02.zip" in str(result.exception)
    assert os.listdir(tmp_path) == ["cache"]
    server.put(path, b"no zip")
    result = run(options(server, tmp_path))
    assert isinstance(result.exception, DataError) and "damaged zip" in str(result.exception)
    assert os.listdir(tmp_path) == ["cache"]


def test_the_cache_of_another_archive_is_not_used(server: ArchiveServer, tmp_path: Path) -> None:
    assert run(options(server, tmp_path)).exit_code == 0
    other = run([*options(server, tmp_path), "--base-url", f"{server.url}/spot"])
    assert isinstance(other.exception, UnreadableError)


def test_default_cache_is_the_users(
    server: ArchiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    arguments = options(server, tmp_path)
    at = arguments.index("--cache")
    del arguments[at : at + 2]
    assert run(arguments).exit_code == 0
    assert len(list((tmp_path / "home" / "rllib-tactical").rglob("*.zip"))) == 2


@pytest.mark.slow
def test_killed_in_the_middle_then_resumed(
    server: ArchiveServer, tmp_path: Path, project_root: Path
) -> None:
    path = "BTCUSDT/5m/BTCUSDT-5m-2025-02.zip"
    half = len(server.files[path]) // 2
    server.faults[path] = [Fault(cut=half, stall=True)]
    command = [sys.executable, "-m", "rllib_tactical", "data", *options(server, tmp_path)]
    process = subprocess.Popen(command, cwd=project_root, stderr=subprocess.PIPE)
    try:
        assert server.sent.wait(60)
        # What was sent arrives in blocks; the first ones are on disk once the part is there.
        parts: list[Path] = []
        while process.poll() is None and not any(part.stat().st_size for part in parts):
            parts = list(tmp_path.rglob("*.part"))
    finally:
        process.kill()
        process.communicate()
    assert not (tmp_path / "bars.parquet").exists()
    kept = parts[0].stat().st_size
    assert 0 < kept <= half
    result = run([*options(server, tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["downloaded"] == 1
    assert server.asked(path) == ["", f"bytes={kept}-"]
    assert len(read_bars(tmp_path / "bars.parquet")) == 16992
