"""What is done with the files of version 1: by their maker for the expected values, and by tests.

Everything goes through the command line, HTTP and the content of files, so that it means the same
in every version. Paths are relative to the folder in which the files lie.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
FIXTURES = ROOT / "tests" / "fixtures" / "version1"
LOOSE = ("bars.parquet", "config.yaml", "sweep.yaml", "service.yaml")
ARCHIVES = {
    "run": ("run",),
    "bundle": ("bundle",),
    "sweep": ("start", "sweep"),
    "state": ("state",),
}
DATA = ("--data", "bars.parquet", "--instrument", "SYNTH")
TIMES = {"seconds", "steps_per_s", "total_seconds"}
START_TIMEOUT_S = 120.0
REPLAYED = 400
"""Bars that the service got: the last ones of the file."""

Row = dict[str, Any]


def unpack(folder: Path, *names: str) -> None:
    """Put archives, and the files that lie beside them, into a folder."""
    for name in LOOSE:
        (folder / name).write_bytes((FIXTURES / name).read_bytes())
    for name in names:
        with tarfile.open(FIXTURES / f"{name}.tar.xz") as archive:
            archive.extractall(folder, filter="data")


def environment() -> dict[str, str]:
    """Return the environment of commands: this checkout, and a Ray of their own."""
    kept = {key: value for key, value in os.environ.items() if key != "TACTICAL_TOKEN"}
    return kept | {"PYTHONPATH": str(ROOT), "RAY_ADDRESS": "local", "OMP_NUM_THREADS": "1"}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "rllib_tactical", *map(str, arguments)]


def call(folder: Path, *arguments: object) -> str:
    """Run a command in a folder and return what it printed; it has to succeed."""
    done = subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rows_of(path: Path) -> list[Row]:
    """Return the lines of a run's progress without what depends on the machine's speed."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def resumed_run(folder: Path) -> list[Row]:
    """Resume the run by one iteration, then by another with its own configuration file."""
    call(folder, "train", *DATA, "--out", "run", "--resume", "--iterations", 3)
    call(
        folder, "train", *DATA, "--out", "run", "--resume", "--iterations", 4, "--config",
        "config.yaml",
    )  # fmt: skip
    return rows_of(folder / "run" / "progress.jsonl")


def backtest(folder: Path) -> Row:
    """Return the bundle's own figures on the whole file, without baselines and statistics."""
    call(folder, "backtest", "--bundle", "bundle", "--data", "bars.parquet", "--out", "judged")
    found: Row = json.loads((folder / "judged" / "kpis.json").read_text(encoding="utf-8"))
    return {key: found[key] for key in ("bars", "kpis")}


def resumed_sweep(folder: Path) -> Row:
    """Finish the sweep; return its summary and the progress of the trial that was killed."""
    call(folder, "tune", *DATA, "--out", "sweep", "--resume")
    summary: Row = json.loads((folder / "sweep" / "summary.json").read_text(encoding="utf-8"))
    trials = [{k: v for k, v in trial.items() if k != "seconds"} for trial in summary["trials"]]
    return {
        "best_trial": summary["best_trial"],
        "best_net_pnl": summary["best_net_pnl"],
        "trials": trials,
        "killed": rows_of(folder / "sweep" / "trials" / "0001" / "progress.jsonl"),
    }


@contextmanager
def service(folder: Path) -> Iterator[httpx.Client]:
    """Run the service on the bundle and the state in a folder; yield a client of it."""
    arguments = ("--bundle", "bundle", "--state", "state", "--config", "service.yaml")
    process = subprocess.Popen(
        command("serve", *arguments, "--port", 0),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    lines: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
    reader.start()
    try:
        with httpx.Client(base_url=_url(lines), trust_env=False, timeout=60.0) as client:
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()
        process.stdout.close()


def _read(stream: Any, lines: queue.Queue[str]) -> None:
    for line in stream:
        lines.put(line)
    lines.put("")


def _url(lines: queue.Queue[str]) -> str:
    said = ""
    while line := lines.get(timeout=START_TIMEOUT_S):
        said += line
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        if found:
            return found[0]
    raise AssertionError(f"the service did not start:\n{said}")


def posted(client: httpx.Client, path: str, body: Row) -> Row:
    """Post a body that has to be accepted; return the answer without counts and times."""
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    answer: Row = response.json()
    return {key: value for key, value in answer.items() if key not in ("version", "timing")}


def bars_body(folder: Path) -> Row:
    """Return the last bars of the file as a request."""
    table = pd.read_parquet(folder / "bars.parquet").tail(REPLAYED)
    names = ("open", "high", "low", "close", "volume")
    times = pd.to_datetime(table["timestamp"], utc=True).dt.as_unit("s").astype("int64")
    bars = [
        {"timestamp": int(time), **{name: float(row[name]) for name in names}}
        for time, (_, row) in zip(times, table.iterrows(), strict=True)
    ]
    return {"symbol": "SYNTH", "bars": bars}


FILLS: Row = {
    "symbol": "SYNTH",
    "fills": [
        {"fill_id": f"v1-{k}", "side": side, "quantity": lots, "price": price, "timestamp": time_s}
        for k, (side, lots, price, time_s) in enumerate(
            (
                ("BUY", 100.0, 100.0, 1_704_206_000),
                ("SELL", 100.0, 101.5, 1_704_209_600),
                ("SELL", 80.0, 101.0, 1_704_213_200),
                ("BUY", 80.0, 101.75, 1_704_292_400),
                ("BUY", 60.0, 100.25, 1_704_296_000),
            )
        )
    ],
}
FILLS["fills"][2]["commission"] = 2.5
for _number, _votes in ((0, ("long", "up", "execute")), (2, ("short", "neutral", "aggressive"))):
    FILLS["fills"][_number]["metadata"] = {
        "source": "policy",
        "decision_id": f"decision-{_number}",
        "bundle_id": "0" * 64,
        "confidence": 0.75,
        "votes": dict(zip(("fvg", "momentum", "entry"), _votes, strict=True)),
        "synergy_aligned": None,
    }

CLOSE: Row = {
    "symbol": "SYNTH",
    "fills": [
        {
            "fill_id": "v1-close",
            "side": "SELL",
            "quantity": 60.0,
            "price": 100.75,
            "timestamp": 1_704_378_800,
        }
    ],
}
SAMPLED: Row = {"mode": "sample", "seed": 4, "temperature": 2.0}
PAUSE: Row = {"action": "pause", "request_id": "v1-pause", "note": "before the move"}
RESUME: Row = {"action": "resume", "request_id": "v1-resume"}


def matrix_body() -> Row:
    """Return a request with a fixed 60x7 matrix."""
    rows = [
        [float(t > 50), float(t < 5), 100.0, float(t % 20), float(t == 55), 0.03 * (t - 40), 1.5]
        for t in range(60)
    ]
    context = {"symbol": "SYNTH", "current_price": 100.5, "atr_5min": 0.25}
    return {"matrix_state": rows, "market_context": context}


def fill_state(client: httpx.Client, folder: Path) -> None:
    """Post bars, fills, the bars by which the account is marked after them, and a pause."""
    body = bars_body(folder)
    posted(client, "/bars", body | {"bars": body["bars"][:-20]})
    posted(client, "/fills", FILLS)
    posted(client, "/bars", body | {"bars": body["bars"][-20:]})
    posted(client, "/admin/override", PAUSE)


def service_answers(client: httpx.Client, folder: Path) -> Row:
    """Return what the service says of its state, then end the pause and close the position.

    Until then writes are repeated, which changes nothing.
    """
    health = client.get("/health").json()
    found: Row = {
        "health": {
            "metrics": {
                key: health["metrics"][key] for key in ("active_positions", "override", "halted")
            },
            "agents": health["components"]["agents"],
            "bus": {key: health["components"]["bus"][key] for key in ("bars", "gap")},
            "bundle_id": health["components"]["models"]["bundle_id"],
        },
        "performance": _performance(client),
        "bars": posted(client, "/bars", bars_body(folder)),
        "fills": posted(client, "/fills", FILLS),
        "pause": posted(client, "/admin/override", PAUSE),
        "paused_by_symbol": posted(client, "/decide", {"symbol": "SYNTH"}),
        "paused_by_matrix": posted(client, "/decide", matrix_body()),
    }
    posted(client, "/admin/override", RESUME)
    found["by_symbol"] = posted(client, "/decide", {"symbol": "SYNTH"})
    found["by_matrix"] = posted(client, "/decide", matrix_body())
    sampled = matrix_body() | {"override_params": SAMPLED}
    found["closing"] = posted(client, "/decide", sampled)
    found["closed"] = posted(client, "/fills", CLOSE)
    found["performance_when_closed"] = _performance(client)
    found["opening"] = posted(client, "/decide", sampled)
    return found


def _performance(client: httpx.Client) -> Row:
    report: Row = client.get("/performance", params={"days": 3650}).json()
    return report
