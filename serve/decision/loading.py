"""Make a decider of a bundle: verified, warm, its actors under the time limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.config.service import PerformanceConfig, ServiceConfig
from rllib_tactical.errors import BundleError
from serve.decision.deadline import bundle_engine, under_time_limit
from serve.decision.decider import Decider


def load_decider(
    path: str, bundle_id: str, performance: PerformanceConfig, service: ServiceConfig
) -> Decider:
    """Return a warm decider of the bundle at ``path``.

    Raises:
        UnreadableError: the bundle is not there.
        BundleError: it cannot be used, or is another one.
    """
    bundle = load_bundle(Path(path))
    if bundle.bundle_id != bundle_id:
        raise BundleError(
            f"bundle {bundle_id[:12]} was chosen, {path} now holds {bundle.bundle_id[:12]}"
        )
    engine = bundle_engine(bundle)
    Decider(bundle, performance, engine).warm_up()
    # after warm-up: the first run takes longer than the limit of the others
    limited = under_time_limit(engine, service.inference_timeout_ms / 1e3)
    # the engine has a copy of its own: of many symbols it would be two too many of each
    light = replace(bundle, weights={}, onnx_model=b"")
    return Decider(light, performance, limited)
