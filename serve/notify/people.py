"""Messages to people, by Apprise: mail, chat, telephones."""

from __future__ import annotations

from collections.abc import Sequence

import apprise

from rllib_tactical.errors import ServiceError
from serve.notify.message import Message
from serve.notify.receiver import Send


def apprise_send(addresses: Sequence[str]) -> Send:
    """Return what sends messages to addresses of Apprise, such as ``mailto://`` or ``slack://``.

    Raises:
        ServiceError: there is no address, or Apprise does not know one. Addresses have passwords in
            them: the message names its place in the list only.
    """
    if not addresses:
        raise ServiceError("there must be an address to notify, found none")
    people = apprise.Apprise()
    for number, address in enumerate(addresses, 1):
        if not people.add(address):
            raise ServiceError(f"address {number} is none that Apprise knows")

    def send(message: Message) -> bool:
        sent = people.notify(title=message.title, body=message.body, notify_type=message.tone)
        return bool(sent)

    return send
