"""The decision without a service around it, for servers to compare with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.domain.simulation.account import Account
from serve.decision.decider import Decider
from serve.decision.risk_state import RiskState


def decide_alone(bundle_path: Path) -> Callable[[bytes], bytes]:
    """Return what decides with a bundle on a flat account, from body to answer, after a warm-up."""
    bundle = load_bundle(bundle_path)
    decider = Decider(bundle, PerformanceConfig())
    decider.warm_up()
    state = RiskState(Account.opened(bundle.rules.risk.initial_equity))
    encode = msgspec.json.Encoder().encode
    return lambda body: encode(decider.answer(body, state).answer)
