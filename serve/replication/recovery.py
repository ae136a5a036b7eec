"""Open a state folder and rebuild the state from its journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from rllib_tactical.config.service import ServiceConfig
from rllib_tactical.errors import ServiceError, TacticalError
from serve.state.journal import Journal
from serve.state.machine import (
    BarsRecord,
    ControlRecord,
    FillsRecord,
    ModelRecord,
    SessionRecord,
    StateMachine,
)

_DECODE_RECORD: Final = msgspec.json.Decoder(
    ModelRecord | BarsRecord | FillsRecord | ControlRecord | SessionRecord
).decode
_DECODE_FIRST: Final = msgspec.json.Decoder(ModelRecord).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorSettings:
    """What the coordinator needs to start.

    ``model`` is the bundle that the service was started with; its ``launch`` identifies that start.
    A coordinator that restarts within the same start keeps the bundle that was chosen last.
    """

    state_folder: str
    model: ModelRecord
    service: ServiceConfig
    log_folder: str | None = None
    log_level: str = "INFO"


def open_state(settings: CoordinatorSettings) -> tuple[Journal, StateMachine]:
    """Open the state folder, replay its journal and choose the bundle of this start.

    Raises:
        ServiceError: the folder is in use, is damaged or belongs to another market than the bundle.
    """
    journal = Journal(Path(settings.state_folder))
    try:
        return journal, _replay(journal, settings)
    except BaseException as error:
        journal.close()
        if isinstance(error, TacticalError):
            raise ServiceError(f"state folder {settings.state_folder}: {error}") from error
        if isinstance(error, msgspec.DecodeError):
            raise ServiceError(
                f"state folder {settings.state_folder} was written by another version: {error}"
            ) from error
        raise


def _replay(journal: Journal, settings: CoordinatorSettings) -> StateMachine:
    """Return the state that the journal's records lead to, with the bundle of this start."""
    given = replace(settings.model, live_bars=settings.service.live_bars)
    records: Iterator[bytes] = journal.records()
    first = next(records, None)
    if first is None:
        journal.append(given)
        return StateMachine(given)
    machine = StateMachine(_DECODE_FIRST(first))
    for raw in records:
        machine.apply(_DECODE_RECORD(raw))
    if machine.launch == settings.model.launch:
        chosen = replace(machine.model, live_bars=given.live_bars)
    else:
        machine.check_model(given)
        chosen = given
    if chosen is given or chosen != machine.model:
        journal.append(chosen)
        machine.apply(chosen)
    return machine
