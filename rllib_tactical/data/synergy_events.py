"""Synergies for a history: read from a file of events, detected on the bars, or none.

A file of events holds one ``SYNERGY_DETECTED`` event per line as JSON: ``event_id``, ``timestamp``
(ISO-8601 or epoch seconds, UTC), ``synergy_type``, ``direction``, ``confidence``; the keys
``event``, ``signal_sequence`` and ``market_context`` are accepted and not used. A type other than
TYPE_1 to TYPE_4 counts with equal weights, and is a warning.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np

from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.domain.features.synergy import IN_FORCE, SynergyTrack, synergy_kind
from rllib_tactical.domain.types import UNKNOWN_SYNERGY, Bars
from rllib_tactical.errors import DataError, UnreadableError

DETECT: Final = "detect"
NONE: Final = "none"
OF_FILE: Final = "file"

UNKNOWN_TYPE: Final[Literal["unknown_synergy_type"]] = "unknown_synergy_type"
"""Name of the warning."""

SYNERGIES: Final = "synergies"
"""Under this key run folders, bundles and results say which of the three it was."""


class SynergyEvent(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One synergy as the strategic system reports it."""

    event_id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    timestamp: datetime | float
    synergy_type: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    direction: Literal[1, -1]
    confidence: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
    event: Literal["SYNERGY_DETECTED"] = "SYNERGY_DETECTED"
    signal_sequence: list[Any] = []
    market_context: dict[str, Any] = {}

    @property
    def time_s(self) -> float:
        """UTC epoch seconds; a time without an offset is UTC."""
        if isinstance(self.timestamp, datetime):
            moment = self.timestamp
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        return self.timestamp


def read_events(path: Path) -> list[SynergyEvent]:
    """Read a file of events in time order; a repeated event id counts once.

    Raises:
        UnreadableError: the file cannot be read.
        DataError: a line is not a valid event; names the line and the field.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read: {error.strerror}") from error
    decoder = msgspec.json.Decoder(SynergyEvent)
    events: dict[str, SynergyEvent] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            event = decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: line {number}: {error}") from error
        events.setdefault(event.event_id, event)
    return sorted(events.values(), key=lambda event: event.time_s)


def track_events(
    events: list[SynergyEvent], bars: Bars, bar_seconds: int = BAR_SECONDS
) -> SynergyTrack:
    """Return the synergies in force at the close of each bar (T,).

    An event is in force from the first bar that closes at or after its time, for three bars; a
    later event replaces it. Events before the first bar or after the last close are left out.

    Args:
        events: in time order.
        bars: the history.
        bar_seconds: length of a bar.
    """
    kind = np.zeros(len(bars), dtype=np.int8)
    direction = np.zeros(len(bars), dtype=np.int8)
    confidence = np.zeros(len(bars))
    close_s = bars.timestamp_s + bar_seconds
    for event in events:
        first = int(np.searchsorted(close_s, event.time_s))
        if first == len(bars) or event.time_s < bars.timestamp_s[0]:
            continue
        force = slice(first, first + IN_FORCE)
        kind[force] = synergy_kind(event.synergy_type)
        direction[force] = event.direction
        confidence[force] = event.confidence
    return SynergyTrack(kind, direction, confidence)


def synergy_warnings(track: SynergyTrack | None) -> dict[str, int]:
    """Return on how many bars a synergy of an unknown type is in force, by name, if on any."""
    count = 0 if track is None else int((track.kind == UNKNOWN_SYNERGY).sum())
    return {UNKNOWN_TYPE: count} if count else {}


def synergies_for(source: str, bars: Bars, bar_seconds: int = BAR_SECONDS) -> SynergyTrack | None:
    """Return the synergies that ``--synergies`` names; None asks for detection on the bars.

    Args:
        source: ``detect``, ``none`` or the path of a file of events.
        bars: the history.
        bar_seconds: length of a bar.

    Raises:
        UnreadableError: the file cannot be read.
        DataError: an event is not valid.
    """
    if source == DETECT:
        return None
    if source == NONE:
        return SynergyTrack.none(len(bars))
    return track_events(read_events(Path(source)), bars, bar_seconds)
