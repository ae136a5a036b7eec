"""The actors' logits on the newest bars, computed when these arrive and not when they are asked."""

from __future__ import annotations

import logging

import numpy as np

from rllib_tactical.bundle.inference import LogitsEngine, logits_in_batches
from rllib_tactical.domain.features.table import network_input
from rllib_tactical.domain.types import FloatArray

_LOG = logging.getLogger(__name__)
_Bars = tuple[bytes, float, float]


class BarLogits:
    """Keeps the logits of one window of bars.

    Logits depend on window, close and ATR alone. They are kept under exactly these, so that bars
    that were revised, or are new, never meet logits of others; the account, the temperature of a
    request and the operator's orders do not change them.

    Args:
        engine: the actors; called on the caller's thread.
    """

    def __init__(self, engine: LogitsEngine) -> None:
        self._engine = engine
        self._bars: _Bars | None = None
        self._logits: FloatArray | None = None

    def prepare(self, matrix: FloatArray, price: float, atr: float) -> None:
        """Compute the logits of a window unless they are known or could not be computed before.

        What goes wrong is left to the decision, which computes them again.

        Args:
            matrix: (60, 7) float64 raw.
            price: close of its last bar.
            atr: ATR of its last bar, price units.
        """
        bars = matrix.tobytes(), price, atr
        if bars == self._bars:
            return
        self._bars, self._logits = bars, None
        try:
            inputs = network_input(matrix[None], np.array([price]), np.array([atr]))
            self._logits = logits_in_batches(self._engine, inputs)
        except Exception as error:
            # whatever an engine raises: the decision meets it again, and falls back
            _LOG.warning("the logits of the newest bars were not computed: %s", error)

    def find(self, matrix: FloatArray, price: float, atr: float) -> FloatArray | None:
        """Return the logits (1, 3, 3) float64 of a window, None when they are not kept."""
        if self._logits is None or self._bars != (matrix.tobytes(), price, atr):
            return None
        return self._logits
