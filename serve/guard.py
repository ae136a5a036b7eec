"""The actors under a time limit: whoever asks gets logits or an error in time, never a hang."""

from __future__ import annotations

import logging
import threading
from queue import Empty, SimpleQueue

from rllib_tactical.bundle import Bundle
from rllib_tactical.domain.types import Float32Array
from rllib_tactical.errors import BundleError
from rllib_tactical.inference import LogitsEngine

_LOG = logging.getLogger(__name__)


class GuardedEngine:
    """Runs an engine in a thread of its own and waits for it no longer than ``timeout_s``.

    While a call that took too long still runs, the next ones fail at once: they would only queue up
    behind it. The way to the thread and back costs about 20 us.
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
            raise BundleError(f"the actors took more than {self._timeout_s * 1e3:g} ms") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def __del__(self) -> None:
        self._asked.put(None)


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
