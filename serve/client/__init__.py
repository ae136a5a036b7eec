"""Typed clients of the service: HTTP (blocking and awaited) and WebSocket.

They need neither torch nor Ray. A client is imported when it is asked for, so that who only
describes calls needs no HTTP library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from serve.api.write_requests import BarInput, BrokerAccount, CashMove, FillInput
from serve.client.calls import Retries, ServiceAnswerError

if TYPE_CHECKING:
    from serve.client.http import AsyncDecisionClient, DecisionClient
    from serve.client.websocket import DecisionStream

__all__ = [
    "AsyncDecisionClient",
    "BarInput",
    "BrokerAccount",
    "CashMove",
    "DecisionClient",
    "DecisionStream",
    "FillInput",
    "Retries",
    "ServiceAnswerError",
]

_WHERE: Final = {
    "AsyncDecisionClient": "serve.client.http",
    "DecisionClient": "serve.client.http",
    "DecisionStream": "serve.client.websocket",
}


def __getattr__(name: str) -> Any:
    """Import a client when it is asked for."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
