"""What is known of a policy from its bundle is what a service says of it, but for the training."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from rllib_tactical.backtest.comparison import train_confidence_of
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.errors import ServiceError
from rllib_tactical.live.terms import Terms
from serve.api.responses import ManifestAnswer
from serve.http.queries import public_manifest


def test_a_service_says_what_its_bundle_holds(bundle: Bundle) -> None:
    shown = public_manifest(bundle, PerformanceConfig())
    sent = msgspec.json.decode(msgspec.json.encode(shown), type=ManifestAnswer)
    of_bundle, of_service = Terms.of_bundle(bundle), Terms.of_service(sent)
    assert of_bundle.train_confidence == train_confidence_of(bundle)
    assert of_service.train_confidence is None
    unknown = replace(of_bundle, train_confidence=None, rewards=of_service.rewards)
    assert unknown == of_service
    of_bundle.require_same(sent)
    other = msgspec.structs.replace(sent, bundle_id="f" * 64)
    with pytest.raises(ServiceError, match="the service decides with ffffffffffff"):
        of_bundle.require_same(other)
