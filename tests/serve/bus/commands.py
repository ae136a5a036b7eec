"""Commands as the service publishes them."""

from __future__ import annotations

from serve.api.responses import ExecutionCommand, OrderMetadata, VoteLabels
from serve.api.streams import COMMANDS, CommandMessage
from serve.client.bus import BusPublisher


def publish_command(url: str, event_id: str) -> None:
    metadata = OrderMetadata(
        "policy", "d", "b", 0.8, VoteLabels("long", "up", "execute"), synergy_aligned=True
    )
    order = ExecutionCommand(
        side="BUY",
        quantity=1.0,
        symbol="TEST",
        stop_loss=99.0,
        take_profit=102.0,
        metadata=metadata,
    )
    with BusPublisher(url) as bus:
        message = CommandMessage(event_id=event_id, issued_s=1.0, execution_command=order)
        bus.publish(COMMANDS, message)
