"""The webhook receiver: takes what Alertmanager posts and sends it on to people."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import msgspec

from rllib_tactical.errors import ServiceError
from serve.notify.message import Message, Webhook, message_of

ALERTS_PATH: Final = "/alerts"
LIVE_PATH: Final = "/live"
MAX_BODY: Final = 4 * 2**20
BODY_S: Final = 30.0

_LOG = logging.getLogger(__name__)

Send = Callable[[Message], bool]
"""Sends a message to everybody; returns whether all of it arrived."""


class Receiver(ThreadingHTTPServer):
    """Listens for webhooks. ``server_port`` is its port.

    A message that could not be sent to everybody is answered with 502, so that Alertmanager sends
    it again: those whom it reached get it twice rather than the others never.

    Args:
        host: address to listen on.
        port: 0 for any free one.
        send: sends the messages.
    """

    daemon_threads = True

    def __init__(self, host: str, port: int, send: Send) -> None:
        self.send = send
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ServiceError(f"cannot listen on {host} port {port}: {reason}") from error


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    timeout = BODY_S

    def do_GET(self) -> None:
        if self.path == LIVE_PATH:
            self._answer(200, {"status": "alive"})
        else:
            self._refuse(404, "unknown_path", f"known are {ALERTS_PATH} and {LIVE_PATH}")

    def do_POST(self) -> None:
        if self.path != ALERTS_PATH:
            self._refuse(404, "unknown_path", f"known are {ALERTS_PATH} and {LIVE_PATH}")
            return
        length = self.headers.get("content-length", "")
        if not (length.isascii() and length.isdecimal()):
            self._refuse(411, "length_required", "a Content-Length is required")
            return
        if int(length) > MAX_BODY:
            self._refuse(413, "body_too_large", f"at most {MAX_BODY} bytes are allowed")
            return
        try:
            webhook = msgspec.json.decode(self.rfile.read(int(length)), type=Webhook)
        except msgspec.DecodeError as error:
            self._refuse(422, "invalid_body", str(error))
            return
        try:
            sent = self.server.send(message_of(webhook))
        except Exception:  # whatever a service of others does, Alertmanager is to try again
            _LOG.exception("a notification failed")
            sent = False
        if sent:
            self._answer(200, {"status": "sent"})
        else:
            self._refuse(502, "not_sent", "the message did not reach everybody")

    def _refuse(self, status: int, code: str, message: str) -> None:
        if status != 404:
            _LOG.warning("%s %s: %s", self.command, self.path, message)
        self.close_connection = True
        self._answer(status, {"error": {"code": code, "message": message, "details": {}}})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Print no line per request."""
