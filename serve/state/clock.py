"""Whether the machine's clock can be trusted: it must go on as the monotonic one does."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from rllib_tactical.errors import ServiceError
from serve.state.bars import FUTURE_SLACK_S

_LOG = logging.getLogger(__name__)
FILE_NAME: Final = "clock"
_SIZE: Final = 128
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Witness(NamedTuple):
    """What the state says of the time.

    ``record_s``: epoch time of the newest record; ``bar_end_s``: that of the end of the newest bar;
    ``resumed``: changes with every order ``resume`` of an operator.
    """

    record_s: float
    bar_end_s: float
    resumed: int


class ClockWatch:
    """Compares the clock with the monotonic one; replicas of a machine share what they know.

    A clock has jumped when it is more than 5 s away from where the monotonic clock says that it
    has to be, or before the newest record of the state. It is trusted again once it is back there;
    once a bar that is new since then ends within the last ``bar_seconds`` by it; or once an
    operator orders ``resume``. The difference of both clocks is kept in a file, so that a jump is
    seen across restarts, until the machine itself starts again.

    Args:
        folder: on this machine, where the file is.
        bar_seconds: length of a bar.
        wall: epoch time in seconds.
        steady: seconds that only grow, from the same origin in every process.

    Raises:
        ServiceError: the file cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        bar_seconds: int,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] | None = None,
    ) -> None:
        self._bar_seconds, self._wall = bar_seconds, wall
        self._steady = steady or _since_boot
        self._boot = _boot_id()
        path = folder / FILE_NAME
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ServiceError(f"{path}: {error.strerror}") from error
        self._raw, self._offset_s = b"", self._decoded(b"")
        self._at_jump: Witness | None = None

    def jump_s(self, witness: Witness) -> float:
        """Return by how many seconds the clock has jumped, 0 while it can be trusted."""
        now_s = self._wall()
        offset_s, known_s = now_s - self._steady(), self._known()
        off_s = 0.0 if known_s is None else offset_s - known_s
        if abs(off_s) <= FUTURE_SLACK_S and now_s < witness.record_s - FUTURE_SLACK_S:
            off_s = now_s - witness.record_s
        if abs(off_s) <= FUTURE_SLACK_S:
            if self._at_jump is not None:
                _LOG.warning("the clock can be trusted again")
            self._at_jump = None
            if off_s or known_s is None:  # small steps, as time servers order them, are no jump
                self._keep(offset_s)
            return 0.0
        if self._at_jump is None:
            self._at_jump = witness
            _LOG.error("the clock has jumped by %.1f s, decisions hold", off_s)
        elif self._confirmed(witness, now_s):
            self._at_jump = None
            self._keep(offset_s)
            _LOG.warning("the clock is confirmed, %.1f s from where it was", off_s)
            return 0.0
        return off_s

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _confirmed(self, witness: Witness, now_s: float) -> bool:
        before = self._at_jump
        if before is None or witness.resumed != before.resumed:
            return True
        age_s = now_s - witness.bar_end_s
        is_new = witness.bar_end_s > before.bar_end_s
        return is_new and -FUTURE_SLACK_S <= age_s <= self._bar_seconds

    def _known(self) -> float | None:
        """Return the clock less the monotonic one as it was, None when nobody knows."""
        with suppress(OSError):
            raw = os.pread(self._file, _SIZE, 0)
            if raw != self._raw:
                self._raw, self._offset_s = raw, self._decoded(raw)
        return self._offset_s

    def _keep(self, offset_s: float) -> None:
        before, self._offset_s = self._offset_s, offset_s
        if before is not None and abs(offset_s - before) < 0.1:
            return
        raw = f"{self._boot} {offset_s:.3f}\n".encode().ljust(_SIZE)
        with suppress(OSError):  # this process knows it
            os.pwrite(self._file, raw, 0)
            self._raw = raw

    def _decoded(self, raw: bytes) -> float | None:
        boot, _, offset_s = raw.decode("ascii", "replace").partition(" ")
        try:
            return float(offset_s) if boot == self._boot else None
        except ValueError:
            return None


def _since_boot() -> float:
    """Return seconds since the machine started, also those in which it slept where it can tell."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return "-"
