"""Apprise carries messages to real services."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from rllib_tactical.errors import ServiceError
from serve.notify.message import Message
from serve.notify.people import apprise_send


class Service(BaseHTTPRequestHandler):
    """A service of somebody's that Apprise posts to."""

    posted: list[dict[str, Any]]

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        self.posted.append(json.loads(self.rfile.read(length)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


def test_apprise_carries_a_message_to_somebodys_service() -> None:
    Service.posted = []
    with HTTPServer(("127.0.0.1", 0), Service) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        send = apprise_send([f"json://127.0.0.1:{service.server_port}/hook"])
        assert send(Message("A: 1 firing", "critical: Late", "failure"))
        service.shutdown()
    (posted,) = Service.posted
    shown = {name: posted[name] for name in ("title", "message", "type")}
    assert shown == {"title": "A: 1 firing", "message": "critical: Late", "type": "failure"}
    # nobody listens there any more
    assert not send(Message("A: 1 firing", "critical: Late", "failure"))


def test_an_address_that_apprise_does_not_know_is_refused_without_showing_it() -> None:
    with pytest.raises(ServiceError, match="address 2 is none that Apprise knows") as caught:
        apprise_send(["json://localhost", "nothing://user:secret@host"])
    assert "secret" not in str(caught.value)
    with pytest.raises(ServiceError, match="there must be an address"):
        apprise_send([])
