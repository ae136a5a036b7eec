"""What sizes an instrument without base quantity, and how files and reports say it.

An instrument's own ``base_quantity`` always counts. Without one, whoever loads the data says which
bars, or which bundle, the size is from. No rule looks ahead: bars are those before the first
decision, or those that a policy is trained on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rllib_tactical.data.instruments import DOLLARS_PER_ATR, resolve_base_quantity
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.types import Instrument

SIZE_FROM: Final = "size_from"
"""The key under which files hold the description of a size's origin."""

INSTRUMENT: Final = "instrument"
BUNDLE: Final = "bundle"
TRAINING_BARS: Final = "training_bars"
WARM_UP_BARS: Final = "warm_up_bars"


@dataclass(frozen=True, slots=True)
class WarmUpBars:
    """Size by the mean ATR of the bars before the first decision of the history."""


@dataclass(frozen=True, slots=True)
class TrainingBars:
    """Size by the mean ATR of the decision bars before bar ``stop``, which a policy trains on."""

    stop: int


@dataclass(frozen=True, slots=True)
class BundleSize:
    """The size of a bundle. ``size_from`` describes its origin; None if the bundle lacks it."""

    base_quantity: float
    bundle_id: str
    size_from: Mapping[str, Any] | None


SizeFrom = WarmUpBars | TrainingBars | BundleSize


def resolve_size(history: MarketHistory, size_from: SizeFrom) -> tuple[Instrument, dict[str, Any]]:
    """Return the history's instrument with a base quantity, and a description of its origin.

    The description has a ``kind``: ``instrument``, ``bundle``, ``training_bars`` or
    ``warm_up_bars``. Of bars it also has their number and the UTC times at which the first and the
    last of them open; of a bundle, its id and its own description, None if the bundle has none.

    Args:
        history: its instrument may have no base quantity.
        size_from: what sizes an instrument without base quantity.

    Raises:
        OrderError: the mean ATR of the bars is not a finite number above zero.
    """
    instrument = history.instrument
    if isinstance(size_from, BundleSize) and instrument.base_quantity in (
        None,
        size_from.base_quantity,
    ):
        own = size_from.size_from
        return (
            dataclasses.replace(instrument, base_quantity=size_from.base_quantity),
            {
                "kind": BUNDLE,
                "bundle_id": size_from.bundle_id,
                SIZE_FROM: None if own is None else dict(own),
            },
        )
    if instrument.base_quantity is not None or isinstance(size_from, BundleSize):
        return instrument, {"kind": INSTRUMENT}
    first = history.first_decision
    if isinstance(size_from, TrainingBars):
        kind, bars = TRAINING_BARS, slice(first, size_from.stop)
    else:
        kind, bars = WARM_UP_BARS, slice(0, first)
    sized = resolve_base_quantity(instrument, float(history.features.atr[bars].mean()))
    time = history.bars.timestamp_s[bars].astype("datetime64[s]")
    return sized, {
        "kind": kind,
        "bars": len(time),
        "first": f"{time[0]}Z",
        "last": f"{time[-1]}Z",
    }


def size_text(base_quantity: float | None, size_from: Mapping[str, Any] | None) -> str:
    """Return a size and its origin as reports write them.

    ``size_from`` is the description that ``resolve_size`` gave; None in files made before it was
    recorded.
    """
    lots = "no" if base_quantity is None else f"{base_quantity:,.12g}"
    return f"{lots} lots, {_origin(size_from)}"


def _origin(size_from: Mapping[str, Any] | None) -> str:
    if size_from is None:
        return "from unknown bars (not recorded)"
    if size_from["kind"] == INSTRUMENT:
        return "given by the instrument"
    if size_from["kind"] == BUNDLE:
        return f"of bundle {size_from['bundle_id'][:12]}, {_origin(size_from[SIZE_FROM])}"
    what = {
        TRAINING_BARS: "training bars",
        WARM_UP_BARS: "bars before the first decision",
    }[size_from["kind"]]
    return (
        f"from the {size_from['bars']:,} {what}, {size_from['first']} to {size_from['last']} "
        f"(one mean ATR is about ${DOLLARS_PER_ATR:g})"
    )
