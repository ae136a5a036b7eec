"""The actors under a time limit: whoever asks gets logits or an error in time."""

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
_LOOKS: Final = 10
"""How often the watch looks within the time limit."""

_SHORTEST_S: Final = 1e-3
"""Between two looks of the watch, which would else keep others from their work."""


class WatchedOnnx:
    """Runs ONNX actors in the caller's thread; a watch has a run stopped that takes too long.

    ONNX Runtime looks between two operators whether it is to stop: a run ends an operator and a
    look of the watch after its time at the latest. Nothing is handed to another thread and back,
    which takes as long as the actors themselves. One caller at a time.
    """

    def __init__(self, engine: OnnxEngine, timeout_s: float) -> None:
        self.name = engine.name
        self._engine = engine
        self._timeout_s = timeout_s
        self._run = _Run()
        every_s = max(timeout_s / _LOOKS, _SHORTEST_S)
        threading.Thread(
            target=_watch, args=(self._run, every_s), name="watch", daemon=True
        ).start()

    def logits(self, inputs: Float32Array) -> Float32Array:
        """Return logits (N, 3, 3) float32.

        Raises:
            BundleError: the actors took too long.
            Exception: whatever ONNX Runtime raises.
        """
        options = self._engine.run_options()
        # in one step, so that the watch never sees one run's end with another run's options
        self._run.current = time.monotonic() + self._timeout_s, options
        try:
            return self._engine.logits(inputs, options)
        except Exception:
            # its classes share no base but Exception; raised again either way, but in our words
            if options.terminate:
                raise _too_late(self._timeout_s) from None
            raise
        finally:
            self._run.current = None

    def __del__(self) -> None:
        self._run.over = True


class GuardedEngine:
    """Runs an engine in a thread of its own and waits for it no longer than ``timeout_s``.

    While a call that took too long still runs, the next ones fail at once: they would only queue up
    behind it.
    """

    def __init__(self, engine: LogitsEngine, timeout_s: float) -> None:
        self.name = engine.name
        self._timeout_s = timeout_s
        self._asked: SimpleQueue[Float32Array | None] = SimpleQueue()
        self._answered: SimpleQueue[Float32Array | Exception] = SimpleQueue()
        self._late = False
        worker = threading.Thread(
            target=_work,
            args=(engine, self._asked, self._answered),
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
                self._answered.get_nowait()
            except Empty:
                raise BundleError("the actors still work on an earlier decision") from None
            self._late = False
        self._asked.put(inputs)
        try:
            answer = self._answered.get(timeout=self._timeout_s)
        except Empty:
            self._late = True
            raise _too_late(self._timeout_s) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def __del__(self) -> None:
        self._asked.put(None)


def under_time_limit(engine: LogitsEngine, timeout_s: float) -> LogitsEngine:
    """Return ``engine`` under a time limit of ``timeout_s`` seconds."""
    if isinstance(engine, OnnxEngine):
        return WatchedOnnx(engine, timeout_s)
    return GuardedEngine(engine, timeout_s)


def bundle_engine(bundle: Bundle) -> LogitsEngine:
    """Return the bundle's actors in ONNX Runtime, in PyTorch where that cannot run them.

    Raises:
        BundleError: neither can.
    """
    try:
        return bundle.engine("onnx")
    except (ImportError, BundleError):
        _LOG.exception("ONNX Runtime cannot run the actors, PyTorch does")
        return bundle.engine("torch")


class _Run:
    """The run that the watch looks at: when it is too late, and what stops it."""

    __slots__ = ("current", "over")

    def __init__(self) -> None:
        self.current: tuple[float, Any] | None = None
        self.over = False


def _watch(run: _Run, every_s: float) -> None:
    while not run.over:
        time.sleep(every_s)
        current = run.current
        if current is not None and time.monotonic() > current[0]:
            current[1].terminate = True


def _too_late(timeout_s: float) -> BundleError:
    return BundleError(f"the actors took more than {timeout_s * 1e3:g} ms")


def _work(
    engine: LogitsEngine,
    asked: SimpleQueue[Float32Array | None],
    answered: SimpleQueue[Float32Array | Exception],
) -> None:
    while (inputs := asked.get()) is not None:
        try:
            answered.put(engine.logits(inputs))
        except Exception as error:
            # handed to whoever asked, in whose thread it belongs
            answered.put(error)
