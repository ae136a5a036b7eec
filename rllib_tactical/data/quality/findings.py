"""What a check finds, and how findings are collected without one object per bad row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import numpy as np

from rllib_tactical.domain.types import BoolArray, IntArray
from rllib_tactical.errors import DataError

Severity = Literal["error", "warning"]

ERROR_RULES: Final = (
    "empty_file",
    "missing_column",
    "duplicate_column",
    "wrong_bar_length",
    "wrong_zone",
    "price_scale",
    "long_row",
    "unparsable_cell",
    "impossible_time",
    "not_finite",
    "price_not_positive",
    "high_too_low",
    "low_too_high",
    "negative_volume",
    "duplicate_timestamp",
    "out_of_order",
    "off_grid",
    "in_future",
)
WARNING_RULES: Final = (
    "naive_timestamps",
    "outside_session",
    "missing_bars",
    "short_session",
    "zero_volume_run",
    "frozen_prices",
    "outlier_return",
    "roll_jump",
    "off_tick",
    "other_symbol",
)
MAX_PER_RULE: Final = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule.

    ``row`` is the 0-based data row of the file: the header and blank lines do not count. It is
    None for a finding about the whole file. ``timestamp`` is the row's time in ISO-8601 UTC, or
    None where the row has none that can be read.
    """

    row: int | None
    timestamp: str | None
    rule: str
    severity: Severity
    message: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The outcome of a check.

    ``counts`` says for every broken rule how often it was broken. ``findings`` holds the first
    ones of each rule, errors before warnings and then by row; it is complete unless ``truncated``.
    """

    rows: int
    findings: tuple[Finding, ...]
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def errors(self) -> int:
        """The number of errors, listed or not."""
        return sum(count for rule, count in self.counts.items() if rule in ERROR_RULES)

    @property
    def warnings(self) -> int:
        """The number of warnings, listed or not."""
        return sum(count for rule, count in self.counts.items() if rule in WARNING_RULES)

    @property
    def warning_counts(self) -> dict[str, int]:
        """How often each rule of a warning was broken, without those that were not."""
        return {rule: count for rule, count in self.counts.items() if rule in WARNING_RULES}

    @property
    def truncated(self) -> bool:
        """Whether some findings are counted but not listed."""
        return len(self.findings) < sum(self.counts.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON types."""
        return {
            "rows": self.rows,
            "errors": self.errors,
            "warnings": self.warnings,
            "counts": dict(self.counts),
            "truncated": self.truncated,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def raise_errors(self, source: str) -> None:
        """Refuse data with errors, naming the first ten and the total.

        Raises:
            DataError: the report holds errors.
        """
        if self.errors == 0:
            return
        shown = [finding for finding in self.findings if finding.severity == "error"][:10]
        lines = [f"{source}: {self.errors} error(s) in {self.rows} rows, the first {len(shown)}:"]
        for finding in shown:
            where = "file" if finding.row is None else f"row {finding.row}"
            when = f" ({finding.timestamp})" if finding.timestamp else ""
            lines.append(f"  {where}{when}: {finding.rule}: {finding.message}")
        raise DataError("\n".join(lines))


NO_FINDINGS: Final = CheckReport(0, ())


class Collector:
    """Counts findings per rule and keeps the first ``max_per_rule`` of each."""

    def __init__(
        self,
        micros: IntArray,
        known: BoolArray,
        max_per_rule: int,
        row_numbers: IntArray | None = None,
    ) -> None:
        """Start without findings; ``micros`` and ``known`` give the time of each row, if any.

        ``row_numbers`` are the rows' places in the file, where rows were left out or turned round.
        """
        self._row_numbers = row_numbers
        self._micros = micros
        self._known = known
        self._limit = max(max_per_rule, 10)
        self._kept: dict[str, list[Finding]] = {}
        self._counts: dict[str, int] = {}

    def add_file(self, rule: str, message: str) -> None:
        """Add a finding about the file as a whole."""
        self._add(rule, None, message)
        self._counts[rule] = self._counts.get(rule, 0) + 1

    def add_rows(
        self, rule: str, rows: IntArray | BoolArray, message: Callable[[int], str] | str
    ) -> None:
        """Add one finding per row; ``rows`` are row numbers or a mask over all rows.

        ``message`` is called with the row, or with the position in ``rows`` if these are numbers.
        """
        by_position = rows.dtype != np.bool_
        chosen = rows if by_position else np.flatnonzero(rows)
        if chosen.size == 0:
            return
        room = self._limit - len(self._kept.get(rule, ()))
        for position, row in enumerate(chosen[: max(room, 0)].tolist()):
            if isinstance(message, str):
                self._add(rule, row, message)
            else:
                self._add(rule, row, message(position if by_position else row))
        self._counts[rule] = self._counts.get(rule, 0) + int(chosen.size)

    def report(self, rows: int) -> CheckReport:
        """Return what was collected from a file of ``rows`` rows."""
        rules = (*ERROR_RULES, *WARNING_RULES)
        findings = [finding for rule in rules for finding in self._kept.get(rule, ())]
        findings.sort(key=lambda f: (f.severity, -1 if f.row is None else f.row))
        counts = {rule: self._counts[rule] for rule in rules if rule in self._counts}
        return CheckReport(rows, tuple(findings), counts)

    def _add(self, rule: str, row: int | None, message: str) -> None:
        when = None
        if row is not None and self._known[row]:
            when = iso_time(int(self._micros[row]))
        if row is not None and self._row_numbers is not None:
            row = int(self._row_numbers[row])
        severity: Severity = "error" if rule in ERROR_RULES else "warning"
        self._kept.setdefault(rule, []).append(Finding(row, when, rule, severity, message))


def iso_time(micros: int) -> str:
    """Return UTC epoch microseconds as ISO-8601, with a fraction only where there is one."""
    if micros % 1_000_000 == 0:
        return f"{np.datetime64(micros // 1_000_000, 's')}Z"
    return f"{np.datetime64(micros, 'us')}Z"
