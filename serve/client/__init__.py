"""Typed clients of the service: HTTP (blocking and awaited) and WebSocket.

They need neither torch nor Ray.
"""

from serve.api.write_requests import BarInput, BrokerAccount, CashMove, FillInput
from serve.client.calls import Retries, ServiceAnswerError
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
