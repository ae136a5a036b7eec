"""Choose another bundle: load it, copy it, and change over in every replica."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from rllib_tactical.bundle.bundle import copy_bundle, load_bundle
from rllib_tactical.bundle.registry import registry_of
from rllib_tactical.config.service import ServiceConfig
from rllib_tactical.errors import TacticalError, UnreadableError
from serve.api.errors import RequestError, invalid
from serve.api.responses import ModelAnswer
from serve.api.write_requests import ModelRequest
from serve.decision.commits import Commits
from serve.state.records import AUTOMATIC, Challenger, ModelRecord, ProposalRecord, model_record
from serve.state.store import StoreError

COPIES: Final = "bundles"
"""Folder below the state folder that holds a copy of the chosen bundle."""

KEPT_COPIES: Final = 20
"""Newest bundles of which copies stay, so that their decisions can be recomputed."""

MAX_HEAD_START_S: Final = 5.0

Prepare = Callable[[ModelRecord], None]
"""Loads and warms a bundle, so that this process can change over to it; called in a thread."""


class Promotion:
    """Promotes bundles, for the requests of one process.

    Args:
        commit: writes to the state.
        copies: folder for copies of chosen bundles.
        service: the time limits.
        prepare: see ``Prepare``.
    """

    def __init__(
        self, commit: Commits, copies: Path, service: ServiceConfig, prepare: Prepare
    ) -> None:
        self._commit, self._copies = commit, copies
        self._service, self._prepare = service, prepare
        self._promoting = asyncio.Lock()

    async def promote(self, request: ModelRequest) -> ModelAnswer:
        """Load a bundle and choose it; on any failure nothing changes.

        Raises:
            RequestError: 422 when the bundle is refused; 409, see ``StateMachine.check_promotion``.
            ServiceError: the choice could not be written.
        """
        machine = self._commit.shared.machine
        async with self._promoting:
            try:
                bundle = await asyncio.to_thread(load_bundle, _resolved(request.path))
                record = model_record(bundle, live_bars=self._service.live_bars)
                if request.by == AUTOMATIC:
                    raise invalid("by", "must not be the service's own name for itself")
                record = replace(
                    record,
                    request_id=request.request_id,
                    by=request.by,
                    note=request.note,
                    at_s=time.time(),
                )
                if machine.check_promotion(record) is None:
                    return ModelAnswer(record.bundle_id, record.bundle_id, machine.version)
            except RequestError:
                raise
            except TacticalError as error:
                raise _refused(str(error)) from error
            if request.bundle_id not in (None, record.bundle_id):
                raise _refused(f"bundle_id: the folder holds {record.bundle_id}", "bundle_id")
            previous = machine.of(record.symbol).model
            if (record.bundle_id, record.path) != (previous.bundle_id, previous.path):
                if record.bundle_id != previous.bundle_id:
                    await self._ready(record)
                await self._commit(lambda: machine.check_promotion(record))
                self._commit.log("model", bundle_id=record.bundle_id)
            return ModelAnswer(record.bundle_id, previous.bundle_id, machine.version)

    async def roll_back(self) -> None:
        """Choose the former bundle where a promoted one has broken its limits.

        Raises:
            RequestError: the former bundle cannot be loaded.
            ServiceError: the choice could not be written.
        """
        machine, sessions = self._commit.shared.machine, self._service.rollback_sessions
        for symbol in machine.served:
            if (record := machine.symbols[symbol].rollback(sessions)) is None:
                continue
            async with self._promoting:
                abandoned = machine.symbols[symbol].model
                record = await asyncio.to_thread(self._found, record)
                record = replace(record, at_s=time.time())
                await self._ready(record)
                done = await self._commit(partial(self._due, record))
            if done:
                self._commit.log("rollback", bundle_id=record.bundle_id, note=record.note)
                # it may have to wait for a promotion that is under way there, and that for this one
                await asyncio.to_thread(self._tell_registry, abandoned, record)

    def _tell_registry(self, abandoned: ModelRecord, record: ModelRecord) -> None:
        """Record a rollback in the registry from which the abandoned bundle was promoted.

        The service has changed over already, so a registry that cannot take it is only logged.
        """
        registry = registry_of(Path(abandoned.path))
        if registry is None:
            return
        ids = (abandoned.bundle_id, record.bundle_id)
        try:
            registry.roll_back(record.symbol, why=record.note, by=record.by, expected=ids)
        except (TacticalError, OSError) as error:
            self._commit.log("registry not told", bundle_id=record.bundle_id, note=str(error))

    def _due(self, record: ModelRecord) -> ModelRecord | None:
        """Return the record while the rollback is due: another replica may have been first."""
        own = self._commit.shared.machine.symbols[record.symbol]
        due = own.rollback(self._service.rollback_sessions)
        return record if due is not None and due.bundle_id == record.bundle_id else None

    def _found(self, record: ModelRecord) -> ModelRecord:
        """Return a record with the folder in which its bundle is now: its own or its copy."""
        try:
            if load_bundle(Path(record.path)).bundle_id == record.bundle_id:
                return record
        except TacticalError:
            pass
        return replace(record, path=str(self.copy_of(record)))

    async def _ready(self, record: ModelRecord) -> None:
        """Warm a bundle up and copy it; give the other replicas time to do the same."""
        begun = time.monotonic()
        proposal = ProposalRecord(record.path, record.bundle_id, record.symbol)
        try:
            await asyncio.wait_for(
                asyncio.to_thread(self._prepare, record), self._service.reload_timeout_s
            )
            await asyncio.to_thread(self.keep_copy, record)
        except TimeoutError as error:
            limit_s = self._service.reload_timeout_s
            raise _refused(f"it was not loaded after {limit_s:g} s") from error
        except OSError as error:
            raise StoreError(f"the bundle cannot be copied: {error}") from error
        except TacticalError as error:
            raise _refused(str(error)) from error
        took_s = time.monotonic() - begun
        await self._commit(lambda: proposal)
        # a replica that is not ready after that holds until it is
        await asyncio.sleep(min(2.0 * took_s + self._service.poll_s, MAX_HEAD_START_S))

    def keep_copy(self, record: ModelRecord | Challenger) -> None:
        """Copy a chosen bundle, for replicas that start after its own folder has changed.

        Raises:
            TacticalError: the bundle is no longer in its folder.
            OSError: the copy cannot be written.
        """
        if not (self._copies / record.bundle_id).is_dir():
            copy_bundle(Path(record.path), record.bundle_id, self.copy_of(record))
        copies = sorted(self._copies.iterdir(), key=lambda copy: copy.stat().st_mtime)
        machines = self._commit.shared.machine.symbols.values()
        arms = self._commit.shared.machine.experiment.record.challengers
        kept = {record.bundle_id, *(each.bundle_id for each in arms)}
        kept |= {machine.model.bundle_id for machine in machines}
        for copy in copies[:-KEPT_COPIES]:
            if copy.name not in kept:
                shutil.rmtree(copy, ignore_errors=True)

    def copy_of(self, record: ModelRecord | ProposalRecord | Challenger) -> Path:
        """Return where the copy of a chosen bundle is."""
        return self._copies / record.bundle_id


def _resolved(path: str) -> Path:
    """Return the folder that a path leads to now, however its links are changed later.

    Raises:
        UnreadableError: it leads nowhere: its links run in a circle, or no path can be spelt so.
    """
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise UnreadableError(f"no bundle here: {error}: {path!r}") from error


def _refused(message: str, field: str = "path") -> RequestError:
    return RequestError(422, "bundle_refused", message, field)
