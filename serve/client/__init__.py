"""Typed clients of the service: HTTP (blocking and awaited) and WebSocket."""

from serve.api.write_requests import BarInput, FillInput
from serve.client.http import AsyncDecisionClient, DecisionClient
from serve.client.websocket import DecisionStream

__all__ = ["AsyncDecisionClient", "BarInput", "DecisionClient", "DecisionStream", "FillInput"]
