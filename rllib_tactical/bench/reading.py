"""Section "reading": files of bars read, interpreted and checked, beside plainer ways to read."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from rllib_tactical.bench.measurement import (
    Baseline,
    Measurement,
    Row,
    measure_rates,
    summarize,
)
from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.data.files import write_bars
from rllib_tactical.data.interpret.options import AS_FOUND
from rllib_tactical.data.interpret.read import read_interpreted
from rllib_tactical.data.interpret.recognize import recognize
from rllib_tactical.data.io.layout import Layout
from rllib_tactical.data.io.parse import BAR_COLUMNS
from rllib_tactical.data.io.reading import columns_of
from rllib_tactical.data.io.scan import Scan
from rllib_tactical.data.quality.rules import bars_from_columns, check_columns
from rllib_tactical.domain.types import Bars
from rllib_tactical.errors import DataError

SEED = 1
MAX_RECOGNITION_MS: Final = 50.0
LEAST_RATIO: Final = 0.9
INTERPRETED, PANDAS, KNOWN = "interpreted", "pandas", "layout known"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingSize:
    """Sizes of the measurements. The defaults take under a minute; tests use smaller ones."""

    bars: int = 2_000_000
    repetitions: int = 3


def measure_reading(size: ReadingSize, progress: Callable[[str], None]) -> Iterator[Row]:
    """Measure every row of the section on a CSV file of made-up bars.

    Args:
        size: sizes of the measurements.
        progress: called with the name of each measurement before it starts.
    """
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "bars.csv"
        progress(f"writing {size.bars:,} bars")
        write_bars(_bars(size.bars), path)
        progress("reading")
        rates = measure_rates(
            {name: partial(read, path) for name, read in READERS.items()},
            size.bars,
            size.repetitions,
        )
        bars = f"{size.bars:,} bars of CSV"
        yield Row(
            name=f"read and checked, {bars}",
            unit="bars/s",
            measurement=rates[INTERPRETED],
            baselines=_baselines(rates),
        )
        progress("memory")
        peaks = {name: _peak_of(name, path) for name in READERS}
        yield Row(
            name=f"memory on top, {bars}",
            unit="MB",
            measurement=peaks[INTERPRETED],
            higher_is_better=False,
            baselines=_baselines(peaks),
        )
        progress("recognition")
        yield Row(
            name=f"recognition, {bars}",
            unit="ms",
            measurement=_recognition(path, size.repetitions),
            target=MAX_RECOGNITION_MS,
            higher_is_better=False,
        )


def read_with_pandas(path: Path) -> Bars:
    """Return the bars of a CSV file by pandas alone, after the rules that make bars unusable."""
    frame = pd.read_csv(path)
    moments = pd.DatetimeIndex(pd.to_datetime(frame["timestamp"], utc=True, format="ISO8601"))
    time_s = moments.as_unit("s").asi8
    values = [frame[name].to_numpy(dtype=np.float64) for name in BAR_COLUMNS[1:]]
    open_, high, low, close, volume = values
    step = np.diff(time_s)
    wrong = (
        not all(np.isfinite(column).all() for column in values)
        or bool((low <= 0).any() or (volume < 0).any())
        or bool((high < np.maximum(open_, close)).any() or (low > np.minimum(open_, close)).any())
        or bool((step <= 0).any() or (time_s % BAR_SECONDS).any() or time_s[-1] > time.time())
    )
    if wrong:
        raise DataError(f"{path}: the bars break a rule")
    return Bars(time_s, *values)


def read_with_known_layout(path: Path) -> Bars:
    """Return the bars of a file whose columns and times are known, checked, but not interpreted."""
    layout = Layout(
        names=BAR_COLUMNS,
        required=BAR_COLUMNS,
        positions={name: at for at, name in enumerate(BAR_COLUMNS)},
    )
    with Scan(path) as scan:
        if scan.text is not None:
            scan.text.begin_at(1, BAR_COLUMNS)
        columns = columns_of(scan, layout, lambda share: None)
    check_columns(columns).raise_errors(str(path))
    return bars_from_columns(columns)


def read_and_interpret(path: Path) -> Bars:
    """Return the bars of a file as every command reads them."""
    return read_interpreted(path).bars


READERS: Final[dict[str, Callable[[Path], Bars]]] = {
    INTERPRETED: read_and_interpret,
    PANDAS: read_with_pandas,
    KNOWN: read_with_known_layout,
}


def _baselines(found: dict[str, Measurement]) -> tuple[Baseline, ...]:
    return (
        Baseline(
            PANDAS,
            found[PANDAS],
            "read_csv, to_datetime and the rules of a bar file, without warnings or rows",
        ),
        Baseline(
            KNOWN,
            found[KNOWN],
            "the same reader and check, told where the columns are and that times are in UTC",
            target_ratio=LEAST_RATIO,
        ),
    )


def _recognition(path: Path, repetitions: int) -> Measurement:
    """Return milliseconds of processor time from a closed file to its layout."""
    times = []
    for _ in range(repetitions + 1):
        begun = time.process_time()
        with Scan(path) as scan:
            recognize(scan, AS_FOUND)
        times.append((time.process_time() - begun) * 1e3)
    return summarize(times[1:])


def _peak_of(reader: str, path: Path) -> Measurement:
    """Return the megabytes that a process of its own takes for reading, at most."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return summarize([pool.apply(_peak, (reader, path))])


def _peak(reader: str, path: Path) -> float:
    before = _most_resident()
    READERS[reader](path)
    return (_most_resident() - before) / 1e6


def _most_resident() -> int:
    """Return the most bytes of memory that this process has had.

    What ``getrusage`` says would count the parent's, too.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def _bars(count: int) -> Bars:
    rng = np.random.default_rng(SEED)
    close = np.round(100.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-4, count))), 2)
    open_ = np.append(close[:1], close[:-1])
    wicks = np.round(rng.exponential(0.03, (2, count)), 2)
    start = 946_684_800  # 2000-01-01
    return Bars(
        start + BAR_SECONDS * np.arange(count, dtype=np.int64),
        open_,
        np.round(np.maximum(open_, close) + wicks[0], 2),
        np.round(np.minimum(open_, close) - wicks[1], 2),
        close,
        rng.integers(1, 5_000, count).astype(np.float64),
    )
