"""The command ``notify``."""

from __future__ import annotations

import signal
import threading

import click

from serve.notify.receiver import ALERTS_PATH, Receiver


@click.command("notify")
@click.option(
    "--to",
    "addresses",
    multiple=True,
    envvar="TACTICAL_NOTIFY",
    show_envvar=True,
    metavar="URL",
    help="Address of Apprise, such as mailto://, slack:// or json://; again for each further one. "
    "In the variable they are separated by blanks, which keeps passwords out of the list of "
    "processes.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=9095,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 chooses a free one.",
)
def notify_command(addresses: tuple[str, ...], host: str, port: int) -> None:
    """Send alerts to people: receive Alertmanager's webhook and notify by Apprise.

    Alertmanager posts to /alerts. What cannot be sent to everybody is answered with 502, so that it
    posts again. It takes no token: let nobody but Alertmanager reach it.
    """
    from serve.notify.people import apprise_send  # the page of commands needs no Apprise

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with Receiver(host, port, apprise_send(addresses)) as receiver:
        thread = threading.Thread(target=receiver.serve_forever, daemon=True)
        thread.start()
        click.echo(
            f"listening on http://{host}:{receiver.server_port}{ALERTS_PATH}, "
            f"{len(addresses)} address{'es' if len(addresses) > 1 else ''}"
        )
        ended.wait()
        receiver.shutdown()
        thread.join()
