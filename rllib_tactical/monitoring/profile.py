"""The profile of a bundle: what its inputs, decisions and trades are like while nothing drifts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from rllib_tactical.artifacts.json_file import read_object, write_object
from rllib_tactical.domain.types import FloatArray
from rllib_tactical.errors import DataError, UnreadableError, UsageError, require
from rllib_tactical.monitoring.measures import measures_of
from rllib_tactical.monitoring.observations import INPUTS, Observations
from rllib_tactical.monitoring.sums import GROUPS, INPUT, Edges, bin_edges, sums_of
from rllib_tactical.monitoring.thresholds import LEAST_SESSIONS, Threshold, fit_thresholds

FORMAT: Final = 1
WINDOWS: Final = (5, 20)
"""Sessions of the windows: a short one for what is sudden, a long one for what is small."""

FALSE_ALARMS: Final = 0.1
"""Probability that a stable month has any alarm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftProfile:
    """What is compared with, and from where on it is drift.

    ``edges``: of the bins of each input; ``totals``: by group the sums over the reference's
    sessions; ``sessions``: how many these are; ``blocks``: by group the mean block length of the
    bootstrap, in sessions; ``false_alarms``: the probability that a stable month has any alarm.
    """

    bundle_id: str
    symbol: str
    windows: tuple[int, ...]
    false_alarms: float
    edges: Edges
    totals: dict[str, FloatArray]
    sessions: dict[str, int]
    blocks: dict[str, float]
    thresholds: dict[str, tuple[Threshold, ...]]
    reference: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON."""
        return {
            "format": FORMAT,
            "bundle_id": self.bundle_id,
            "symbol": self.symbol,
            "windows": list(self.windows),
            "false_alarms": self.false_alarms,
            "edges": {name: cuts.tolist() for name, cuts in zip(INPUTS, self.edges, strict=True)},
            "totals": {group: sums.tolist() for group, sums in self.totals.items()},
            "sessions": self.sessions,
            "blocks": self.blocks,
            "thresholds": {
                group: [[each.statistic, each.window, each.value] for each in found]
                for group, found in self.thresholds.items()
            },
            "reference": self.reference,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any], source: str) -> DriftProfile:
        """Return the profile that ``to_dict`` described; ``source`` is what an error calls it.

        Raises:
            UnreadableError: it is none, or of another version.
        """
        if values.get("format") != FORMAT:
            raise UnreadableError(
                f"{source}: format must be {FORMAT}, found {values.get('format')!r}"
            )
        try:
            return cls(
                bundle_id=str(values["bundle_id"]),
                symbol=str(values["symbol"]),
                windows=tuple(int(window) for window in values["windows"]),
                false_alarms=float(values["false_alarms"]),
                edges=tuple(np.array(values["edges"][name], dtype=np.float64) for name in INPUTS),
                totals={g: np.array(values["totals"][g], dtype=np.float64) for g in GROUPS},
                sessions={group: int(values["sessions"][group]) for group in GROUPS},
                blocks={group: float(values["blocks"][group]) for group in GROUPS},
                thresholds={
                    group: tuple(
                        Threshold(str(name), int(window), float(value))
                        for name, window, value in values["thresholds"][group]
                    )
                    for group in GROUPS
                },
                reference=dict(values["reference"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableError(f"{source}: not a profile of drift: {error!r}") from error


def fit_profile(
    reference: Observations,
    *,
    bundle_id: str,
    symbol: str,
    outcomes: Observations | None = None,
    described: dict[str, Any] | None = None,
    windows: tuple[int, ...] = WINDOWS,
    false_alarms: float = FALSE_ALARMS,
    seed: int = 0,
) -> DriftProfile:
    """Return the profile of a bundle.

    The share of false alarms is divided equally between inputs, behavior and outcomes.

    Args:
        reference: what the inputs are compared with, such as the bars of training.
        bundle_id: of the bundle that decided.
        symbol: of the bars.
        outcomes: what decisions and trades are compared with; bars on which the bundle was not
            trained, because its trades on those flatter it. The reference's when None.
        described: what a reader should know of the reference, plain values.
        windows: lengths of the windows in sessions.
        false_alarms: probability that a stable month has any alarm.
        seed: of the bootstrap.

    Raises:
        UsageError: a value is out of range.
        DataError: fewer than 30 sessions of bars or of decisions.
    """
    require(0.0 < false_alarms < 1.0, "false_alarms must be in (0, 1)", false_alarms, UsageError)
    ordered = bool(windows) and all(window >= 1 for window in windows)
    require(ordered, "windows must be whole numbers >= 1", windows, UsageError)
    edges = bin_edges(reference.inputs)
    sums = sums_of(reference, edges)
    if outcomes is not None:
        sums = {**sums_of(outcomes, edges), INPUT: sums[INPUT]}
    thresholds, blocks = {}, {}
    for number, group in enumerate(GROUPS):
        rows = sums[group].rows
        if len(rows) < LEAST_SESSIONS:
            raise DataError(
                f"the reference must have at least {LEAST_SESSIONS} sessions for {group}, found "
                f"{len(rows)}"
            )
        found, blocks[group] = fit_thresholds(
            rows, measures_of(group, edges), windows, false_alarms / len(GROUPS), seed + number
        )
        thresholds[group] = tuple(found)
    return DriftProfile(
        bundle_id=bundle_id,
        symbol=symbol,
        windows=tuple(windows),
        false_alarms=false_alarms,
        edges=edges,
        totals={group: sums[group].rows.sum(axis=0) for group in GROUPS},
        sessions={group: len(sums[group].rows) for group in GROUPS},
        blocks=blocks,
        thresholds=thresholds,
        reference=described or {},
    )


def write_profile(path: Path, profile: DriftProfile) -> None:
    """Write a profile as JSON in one step.

    Raises:
        OSError: the file cannot be written.
    """
    write_object(path, profile.to_dict())


def read_profile(path: Path) -> DriftProfile:
    """Return the profile in a file.

    Raises:
        UnreadableError: it cannot be read, or is no profile.
    """
    return DriftProfile.from_dict(read_object(path), str(path))
