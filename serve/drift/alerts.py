"""What an operator has to know of drift."""

from __future__ import annotations

from collections.abc import Mapping

from serve.api.alerts import AlertCode
from serve.api.health import Alert
from serve.drift.status import SymbolDrift


def drift_of(found: Mapping[str, SymbolDrift], symbol: str, bundle_id: str) -> SymbolDrift | None:
    """Return the drift of the bundle that decides; None where only another's is known."""
    drift = found.get(symbol)
    return drift if drift is not None and drift.bundle_id == bundle_id else None


def drift_alerts(found: Mapping[str, SymbolDrift], deciding: Mapping[str, str]) -> list[Alert]:
    """Return a warning for each symbol whose bundle has drifted.

    Args:
        found: by symbol, what the monitor last found.
        deciding: by symbol, the bundle that decides now.
    """
    alerts = []
    for symbol, bundle_id in deciding.items():
        drift = drift_of(found, symbol, bundle_id)
        if drift is not None and drift.alarms:
            name = f"{symbol}: " if len(deciding) > 1 else ""
            alerts.append(Alert.of(AlertCode.DRIFT, f"{name}{drift.words}"))
    return alerts
