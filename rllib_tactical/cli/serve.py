"""The command ``serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from rllib_tactical.config.loader import load_config


@click.command("serve")
@click.option(
    "--bundle",
    "bundles",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Policy bundle to decide with; again for each further symbol.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8001,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 chooses a free one.",
)
@click.option(
    "--replicas",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Processes that decide.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="YAML",
    help="Configuration; its sections performance and service are used, and limits over the sum.",
)
@click.option(
    "--state",
    default="service-state",
    show_default=True,
    metavar="DIR|URL",
    help="Folder for bars, fills, position and overrides, from which a restart goes on; or "
    "redis://HOST:PORT/DB of a Redis or Valkey server, for replicas on several nodes.",
)
@click.option(
    "--bus",
    envvar="REDIS_URL",
    show_envvar=True,
    metavar="URL",
    help="redis://HOST:PORT/DB of a Redis or Valkey server: take events, bars and fills from its "
    "streams, and publish orders there.",
)
@click.option(
    "--drift",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    help="Profile of the bundle (tactical drift --save-profile), or folder of profiles: compare "
    "what the service sees and does with it, for /health and /metrics.",
)
@click.option(
    "--challenger",
    "challengers",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Bundle that answers in the shadow of every decision and trades on paper; again for more. "
    "GET /experiment says which is better.",
)
@click.option(
    "--split",
    default="none",
    show_default=True,
    type=click.Choice(["none", "symbol", "session"]),
    help="Let challengers decide in place of the first bundle: for some symbols, or in some "
    "sessions.",
)
@click.option(
    "--haproxy/--no-haproxy",
    default=None,
    hidden=True,
    help="Without effect: the replicas listen themselves.",
)
def serve_command(
    bundles: tuple[Path, ...],
    host: str,
    port: int,
    replicas: int,
    config: Path | None,
    state: str,
    bus: str | None,
    drift: Path | None,
    challengers: tuple[Path, ...],
    split: Literal["none", "symbol", "session"],
    haproxy: bool | None,
) -> None:
    """Answer POST /decide over HTTP until interrupted.

    Beside it: POST /bars, /fills, /admin/model, /admin/override; GET /health, /metrics, /model,
    /performance, /experiment. With TACTICAL_TOKEN set, requests need that
    token, except for /health, /live, /ready and /metrics; other hosts than loopback need it to be
    set.
    """
    if haproxy is not None:
        click.echo("--haproxy and --no-haproxy have no effect: the replicas listen themselves")
    settings = load_config(config)
    # Ray takes seconds to import: not before the options are known to be right
    from serve.deploy.launcher import serve_forever, start_service

    serve_forever(
        lambda progress: start_service(
            bundles,
            host,
            port,
            replicas,
            settings,
            state=state,
            progress=progress,
            bus=bus,
            drift=drift,
            challengers=challengers,
            split=split,
        ),
        click.echo,
    )
