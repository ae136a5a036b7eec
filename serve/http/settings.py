"""What a replica needs to start besides its state."""

from __future__ import annotations

from dataclasses import dataclass

from rllib_tactical.config.service import PerformanceConfig, ServiceConfig
from serve.bus.status import BusSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSettings:
    """What a replica needs to start.

    ``telemetry_folder`` is local to the node and made by whichever replica comes first.
    ``token_digest`` is the SHA-256 of the token that requests must carry, None for no token.
    ``admin_digest`` is that of the token that /admin paths need instead, None for the same.
    ``token_name`` and ``admin_name`` are what records call them.
    Logs go to ``log_folder``, None for nowhere. ``bus``: None for events over HTTP alone.
    """

    performance: PerformanceConfig
    service: ServiceConfig
    telemetry_folder: str
    token_digest: bytes | None = None
    admin_digest: bytes | None = None
    token_name: str = "token"
    admin_name: str = "admin"
    log_folder: str | None = None
    log_level: str = "INFO"
    bus: BusSettings | None = None
