"""What a paper session knows of the policy: from a bundle, or from a running service alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rllib_tactical.backtest.comparison import train_confidence_of, training_config_of
from rllib_tactical.backtest.request import identity_of
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.loader import from_dict
from rllib_tactical.config.service import AccuracyTargets
from rllib_tactical.data.synergy_events import DETECT
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import ServiceError
from serve.api.responses import ManifestAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """By what rules a session is traded and reported.

    ``identity`` is what config.json says of the policy. ``train_confidence`` is None where the
    training is not known.
    """

    bundle_id: str
    identity: dict[str, Any]
    rules: Rules
    instrument: Instrument
    bar_seconds: int
    synergies: str = DETECT
    rewards: RewardConfig = field(default_factory=RewardConfig)
    train_confidence: float | None = None
    accuracy: AccuracyTargets = field(default_factory=AccuracyTargets)

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> Terms:
        """Return the terms of a bundle."""
        config = training_config_of(bundle)
        return cls(
            bundle_id=bundle.bundle_id,
            identity=identity_of(bundle),
            rules=bundle.rules,
            instrument=bundle.instrument,
            bar_seconds=bundle.bar_seconds,
            synergies=bundle.synergies,
            rewards=RewardConfig() if config is None else config.rewards,
            train_confidence=train_confidence_of(bundle),
            accuracy=AccuracyTargets() if config is None else config.performance.accuracy_targets,
        )

    @classmethod
    def of_service(cls, model: ManifestAnswer) -> Terms:
        """Return what a service says of its bundle; of the training it says nothing."""
        return cls(
            bundle_id=model.bundle_id,
            identity={
                "bundle_id": model.bundle_id,
                "bundle_commit": model.git_commit,
                "temperature_scale": model.temperature_scale,
                "mode": "greedy",
            },
            rules=from_dict(Rules, model.rules, "rules"),
            instrument=from_dict(Instrument, model.instrument, "instrument"),
            bar_seconds=model.bar_seconds,
        )

    def require_same(self, model: ManifestAnswer) -> None:
        """Refuse a service that decides with another bundle.

        Raises:
            ServiceError: names both.
        """
        if model.bundle_id != self.bundle_id:
            raise ServiceError(
                f"--bundle is {self.bundle_id[:12]}, the service decides with "
                f"{model.bundle_id[:12]}"
            )
