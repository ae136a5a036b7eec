"""What a service is started with: bundles, one for each symbol, and limits over their sum."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rllib_tactical.bundle.bundle import Bundle, load_bundle
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.errors import ServiceError
from serve.state.records import ModelRecord, model_record
from serve.state.total import TotalLimits


def load_bundles(paths: Sequence[Path]) -> list[Bundle]:
    """Return verified bundles, at least one, each for a symbol of its own.

    Raises:
        UnreadableError: there is no bundle.
        BundleError: a bundle is incomplete, altered or made for another version.
        ServiceError: two are for one symbol, or none is given.
    """
    if not paths:
        raise ServiceError("there must be a bundle, found none")
    found: dict[str, Bundle] = {}
    for path in paths:
        bundle = load_bundle(path.resolve())
        symbol = bundle.instrument.symbol
        if symbol in found:
            raise ServiceError(
                f"there must be one bundle for {symbol}, found {found[symbol].path} and "
                f"{bundle.path}"
            )
        found[symbol] = bundle
    return list(found.values())


def launch_records(
    bundles: Sequence[Bundle], launch: str, config: TacticalConfig
) -> tuple[ModelRecord, ...]:
    """Return the records that a start, called ``launch``, chose these bundles."""
    live = config.service.live_bars
    return tuple(model_record(bundle, launch, live) for bundle in bundles)


def total_limits(bundles: Sequence[Bundle], config: TacticalConfig) -> TotalLimits:
    """Return the limits over the sum of the accounts of these bundles.

    Several symbols always have one for the drawdown: the largest that a bundle has for its own
    account, where the configuration has none.
    """
    drawdown = config.risk.total_drawdown_limit
    if drawdown is None and len(bundles) > 1:
        drawdown = max(bundle.rules.risk.session_drawdown_limit for bundle in bundles)
    return TotalLimits(drawdown, config.risk.total_daily_loss_limit)
