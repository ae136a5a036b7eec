"""What a service is started with: bundles, one for each symbol, and limits over their sum."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rllib_tactical.bundle.bundle import Bundle, load_bundle
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.errors import ServiceError
from serve.state.records import (
    Challenger,
    ExperimentRecord,
    ModelRecord,
    Split,
    model_record,
)
from serve.state.symbol_machine import SymbolMachine
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


def load_challengers(paths: Sequence[Path], bundles: Sequence[Bundle]) -> list[Bundle]:
    """Return verified challengers, each for the market of one of the bundles that are served.

    Raises:
        UnreadableError: there is no bundle.
        BundleError: a bundle is incomplete, altered or made for another version.
        ServiceError: a challenger is for another symbol or market, knows synergies in another way,
            or is there twice.
    """
    served = {bundle.instrument.symbol: bundle for bundle in bundles}
    found: dict[str, Bundle] = {}
    for path in paths:
        bundle = load_bundle(path.resolve())
        champion = served.get(bundle.instrument.symbol)
        if champion is None:
            raise ServiceError(
                f"a challenger must be for one of {', '.join(served)}, found "
                f"{bundle.instrument.symbol}: {path}"
            )
        SymbolMachine(model_record(champion)).check_model(model_record(bundle))
        if bundle.synergies != champion.synergies:
            raise ServiceError(
                f"a challenger must know synergies as its champion does ({champion.synergies}), "
                f"found {bundle.synergies}: {path}"
            )
        if bundle.bundle_id in (champion.bundle_id, *found):
            raise ServiceError(f"a challenger must be another bundle than all before it: {path}")
        found[bundle.bundle_id] = bundle
    return list(found.values())


def experiment_record(challengers: Sequence[Bundle], split: Split = "none") -> ExperimentRecord:
    """Return the record that a start chose these challengers.

    ``split``: by what they decide in place of the champion, see ``Experiment.deciding``.

    Raises:
        ServiceError: there is nothing to split between.
    """
    if split != "none" and not challengers:
        raise ServiceError(f"a split by {split} must have a challenger, found none")
    return ExperimentRecord(
        tuple(
            Challenger(str(each.path), each.bundle_id, each.instrument.symbol)
            for each in challengers
        ),
        split,
    )
