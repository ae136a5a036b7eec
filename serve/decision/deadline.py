"""The inference deadline: a caller gets logits or an error within the time limit."""

from __future__ import annotations

import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import Any, Final

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.bundle.inference import LogitsEngine, OnnxEngine
from rllib_tactical.domain.types import Float32Array
from rllib_tactical.errors import BundleError

_LOG = logging.getLogger(__name__)
_CHECKS: Final = 10
"""How often the watchdog checks a run within the time limit."""

_SHORTEST_S: Final = 1e-3
"""Shortest time between two checks; more of them would take the CPU from the actors."""


class WatchdogOnnx:
    """Runs ONNX actors in the caller's thread; a watchdog terminates a run that takes too long.

    ONNX Runtime checks between two operators whether it should stop. So a run exceeds its limit by
    one operator and one check of the watchdog at most. The inputs stay in the caller's thread,
    because handing them to another one takes as long as the actors. One caller at a time.
    """

    def __init__(self, engine: OnnxEngine, timeout_s: float) -> None:
        self.name = engine.name
        self._engine = engine
        self._timeout_s = timeout_s
        self._run = _Run()
        every_s = max(timeout_s / _CHECKS, _SHORTEST_S)
        threading.Thread(
            target=_watchdog, args=(self._run, every_s), name="watchdog", daemon=True
        ).start()

    def logits(self, inputs: Float32Array) -> Float32Array:
        """Return logits (N, 3, 3) float32.

        Raises:
            BundleError: the actors took too long.
            Exception: whatever ONNX Runtime raises.
        """
        options = self._engine.run_options()
        # in one assignment: the watchdog never pairs one run's deadline with another's options
        self._run.current = time.monotonic() + self._timeout_s, options
        try:
            return self._engine.logits(inputs, options)
        except Exception:
            # ONNX Runtime's errors share no base class but Exception
            if options.terminate:
                raise _too_late(self._timeout_s) from None
            raise
        finally:
            self._run.current = None

    def __del__(self) -> None:
        self._run.ended = True


class DeadlineEngine:
    """Runs an engine in a thread of its own and waits for it no longer than ``timeout_s``.

    While a call that took too long still runs, the next calls fail at once instead of waiting.
    """

    def __init__(self, engine: LogitsEngine, timeout_s: float) -> None:
        self.name = engine.name
        self._timeout_s = timeout_s
        self._requests: SimpleQueue[Float32Array | None] = SimpleQueue()
        self._results: SimpleQueue[Float32Array | Exception] = SimpleQueue()
        self._late = False
        worker = threading.Thread(
            target=_work,
            args=(engine, self._requests, self._results),
            name="actors",
            daemon=True,
        )
        worker.start()

    def logits(self, inputs: Float32Array) -> Float32Array:
        """Return logits (N, 3, 3) float32.

        Raises:
            BundleError: the engine took too long, or still works on an earlier call.
            Exception: whatever the engine raises.
        """
        if self._late:
            try:
                self._results.get_nowait()
            except Empty:
                raise BundleError("the actors still work on an earlier decision") from None
            self._late = False
        self._requests.put(inputs)
        try:
            answer = self._results.get(timeout=self._timeout_s)
        except Empty:
            self._late = True
            raise _too_late(self._timeout_s) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def __del__(self) -> None:
        self._requests.put(None)


def under_time_limit(engine: LogitsEngine, timeout_s: float) -> LogitsEngine:
    """Return ``engine`` under a time limit of ``timeout_s`` seconds."""
    if isinstance(engine, OnnxEngine):
        return WatchdogOnnx(engine, timeout_s)
    return DeadlineEngine(engine, timeout_s)


def bundle_engine(bundle: Bundle) -> LogitsEngine:
    """Return the bundle's actors in ONNX Runtime, in PyTorch where that cannot run them.

    Raises:
        BundleError: neither can.
    """
    try:
        return bundle.engine("onnx")
    except (ImportError, BundleError):
        _LOG.exception("ONNX Runtime cannot run the actors; PyTorch runs them")
        return bundle.engine("torch")


class _Run:
    """The current run: its deadline, and the options that can terminate it."""

    __slots__ = ("current", "ended")

    def __init__(self) -> None:
        self.current: tuple[float, Any] | None = None
        self.ended = False


def _watchdog(run: _Run, every_s: float) -> None:
    while not run.ended:
        time.sleep(every_s)
        current = run.current
        if current is not None and time.monotonic() > current[0]:
            current[1].terminate = True


def _too_late(timeout_s: float) -> BundleError:
    return BundleError(f"the actors took more than {timeout_s * 1e3:g} ms")


def _work(
    engine: LogitsEngine,
    requests: SimpleQueue[Float32Array | None],
    results: SimpleQueue[Float32Array | Exception],
) -> None:
    while (inputs := requests.get()) is not None:
        try:
            results.put(engine.logits(inputs))
        except Exception as error:
            # the caller raises it in its own thread
            results.put(error)
