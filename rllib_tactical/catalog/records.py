"""Find what the program has written below a folder, and read what tells one from another."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rllib_tactical.artifacts.run_folder import RUN, RunFolder, read_checkpoint
from rllib_tactical.backtest.report.writer import CONFIG
from rllib_tactical.backtest.report.writer import KIND as BACKTEST
from rllib_tactical.errors import TacticalError, UnreadableError, UsageError
from rllib_tactical.sweep.folder import SUMMARY, SWEEP
from rllib_tactical.walkforward.study import PLAN

KPIS: Final = "kpis.json"
EQUITY: Final = "equity.parquet"

METRICS: Final = {
    "net_pnl": "net P&L",
    "trades": "trades",
    "trades_per_day": "a day",
    "win_rate": "win rate",
    "profit_factor": "profit factor",
    "sharpe": "Sharpe",
    "max_drawdown": "max drawdown",
}
"""What is shown of a record, where it is known, and how it is called."""


@dataclass(frozen=True, slots=True)
class Record:
    """One output of the program.

    Attributes:
        kind: ``run``, ``sweep``, ``backtest`` or ``walk-forward``.
        path: its folder.
        written: UTC time at which it was last written.
        symbols: instruments, separated by commas.
        state: how far it is, or what came out, in a few words.
        metrics: of ``METRICS``, those that are known. A run's are those of its best validation, a
            sweep's of its best trial.
        settings: everything that it was made with, as a flat mapping of dotted keys to plain
            values.
        equity: the file with its equity curve, None where there is none.
    """

    kind: str
    path: Path
    written: datetime
    symbols: str
    state: str
    metrics: dict[str, float]
    settings: dict[str, Any]
    equity: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON."""
        return {
            "kind": self.kind,
            "path": str(self.path),
            "written": self.written.isoformat(),
            "symbols": self.symbols,
            "state": self.state,
            "metrics": self.metrics,
            "settings": self.settings,
        }


def find_records(folders: Sequence[Path], skipped: Callable[[str], None]) -> list[Record]:
    """Return the records in and below ``folders``, oldest first.

    What belongs to a record (trials of a sweep, folds of a walk-forward evaluation, the parts of a
    backtest) is not looked into. ``skipped`` is told about a record that cannot be read.

    Raises:
        UsageError: a folder does not exist.
    """
    found: dict[Path, Record] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} must be a folder, found none")
        for path in _below(folder):
            try:
                record = read_record(path)
            except (TacticalError, OSError, ValueError, KeyError, TypeError) as error:
                skipped(f"{path} is left out: {error}")
                continue
            found[path.resolve()] = record
    return sorted(found.values(), key=lambda record: (record.written, str(record.path)))


def read_record(path: Path) -> Record:
    """Return the record whose folder ``path`` is.

    Raises:
        UsageError: the folder holds none.
        UnreadableError: a file of it cannot be read.
    """
    for marker, reader in _READERS.items():
        if (path / marker).is_file() and (marker != CONFIG or _is_backtest(path)):
            return reader(path)
    raise UsageError(
        f"{path} must be the folder of a run, a sweep, a backtest or a walk-forward evaluation"
    )


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one mapping with dotted keys; lists stay values."""
    if not isinstance(values, dict):
        return {prefix: values}
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found


def _below(folder: Path) -> Iterator[Path]:
    for directory, names, _ in os.walk(folder):
        path = Path(directory)
        if any((path / marker).is_file() for marker in _READERS) and (
            not (path / CONFIG).is_file() or _is_backtest(path)
        ):
            names.clear()
            yield path
        names[:] = sorted(name for name in names if not name.startswith("."))


def _is_backtest(path: Path) -> bool:
    try:
        return bool(_read(path / CONFIG).get("kind") == BACKTEST)
    except (UnreadableError, AttributeError):
        return False


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnreadableError(f"cannot read {path}: {error}") from error


def _written(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _known(values: dict[str, Any]) -> dict[str, float]:
    return {name: float(values[name]) for name in METRICS if values.get(name) is not None}


def _data(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return data and instruments of the parts of a run or a sweep, one by one."""
    several = len(parts) > 1
    return {
        f"{'data' if not several else f'data {number}'}": {
            "name": part["data"]["name"],
            "sha256": part["data"]["sha256"][:12],
            "instrument": part["instrument"],
        }
        for number, part in enumerate(parts, 1)
    }


def _symbols(parts: Sequence[dict[str, Any]]) -> str:
    return ", ".join(dict.fromkeys(part["instrument"]["symbol"] for part in parts))


def _run(path: Path) -> Record:
    folder = RunFolder(path)
    run, best = folder.read(), folder.best()
    done = max((row["iteration"] for row in folder.each_progress()), default=0)
    wanted = run["config"]["training"]["iterations"]
    validation = read_checkpoint(best)["validation"] if best is not None else {}
    newest = max((path / name for name in os.listdir(path)), key=lambda file: file.stat().st_mtime)
    return Record(
        kind="run",
        path=path,
        written=_written(newest),
        symbols=_symbols(run["parts"]),
        state=f"{done:,} of {wanted:,} iterations",
        metrics=_known(validation),
        settings=flat(
            {
                **run["config"],
                **_data(run["parts"]),
                "bar_seconds": run["bar_seconds"],
                "commit": run["git_commit"],
            }
        ),
    )


def _sweep(path: Path) -> Record:
    plan = _read(path / SWEEP)
    summary = _read(path / SUMMARY) if (path / SUMMARY).is_file() else None
    metrics: dict[str, float] = {}
    state = f"not finished, {plan['trials']} trials wanted"
    if summary is not None:
        best = next(row for row in summary["trials"] if row["trial"] == summary["best_trial"])
        metrics = _known(best)
        state = f"{len(summary['trials'])} trials, best {summary['best_trial']}"
    return Record(
        kind="sweep",
        path=path,
        written=_written(path / (SUMMARY if summary is not None else SWEEP)),
        symbols=_symbols(plan["parts"]),
        state=state,
        metrics=metrics,
        settings=flat(
            {
                **plan["sweep"],
                **_data(plan["parts"]),
                "bar_seconds": plan["bar_seconds"],
                "commit": plan["git_commit"],
            }
        ),
    )


def _backtest(path: Path) -> Record:
    config, kpis = _read(path / CONFIG), _read(path / KPIS)
    parts = config.get("parts") or {"": config}
    outcome = (kpis.get("statistics") or {}).get("outcome") or "not assessed"
    settings = {key: value for key, value in config.items() if key not in ("kind", "range")}
    return Record(
        kind="backtest",
        path=path,
        written=_written(path / KPIS),
        symbols=_symbols(list(parts.values())),
        state=outcome.replace("_", " "),
        metrics=_known(kpis["kpis"]),
        settings=flat({"first bar": kpis["first_bar"], "last bar": kpis["last_bar"], **settings}),
        equity=path / EQUITY if (path / EQUITY).is_file() else None,
    )


def _walk_forward(path: Path) -> Record:
    plan, results = _read(path / PLAN), path / "results"
    done = (results / CONFIG).is_file()
    inner = _backtest(results) if done else None
    return Record(
        kind="walk-forward",
        path=path,
        written=_written(results / KPIS if done else path / PLAN),
        symbols=plan["instrument"]["symbol"],
        state="not finished" if inner is None else inner.state,
        metrics={} if inner is None else inner.metrics,
        settings=flat(
            {
                **plan["config"],
                **_data([plan]),
                "bar_seconds": plan["bar_seconds"],
                "folds": len(plan["folds"]),
                "seeds": plan["seeds"],
            }
        ),
        equity=None if inner is None else inner.equity,
    )


_READERS: Final[dict[str, Callable[[Path], Record]]] = {
    SWEEP: _sweep,
    PLAN: _walk_forward,
    RUN: _run,
    CONFIG: _backtest,
}
