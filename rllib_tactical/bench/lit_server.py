"""The decision in LitServe, an extra package: ``plain_servers litserve``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import litserve
import msgspec

from rllib_tactical.bench.decide_alone import decide_alone


class DecisionApi(litserve.LitAPI):
    """LitServe's way to serve a model: its API process reads the body, a worker decides.

    Args:
        bundle_path: the bundle to decide with.
    """

    def __init__(self, bundle_path: Path) -> None:
        super().__init__(api_path="/decide")
        self._bundle_path = bundle_path
        self._decide: Callable[[bytes], bytes] | None = None

    def setup(self, device: str) -> None:
        """Load the bundle, in the worker."""
        self._decide = decide_alone(self._bundle_path)

    def predict(self, inputs: object) -> object:
        """Decide on one decoded body."""
        assert self._decide is not None
        return msgspec.json.decode(self._decide(msgspec.json.encode(inputs)))


def run(bundle_path: Path, port: int) -> None:
    """Serve until interrupted."""
    server = litserve.LitServer(DecisionApi(bundle_path), accelerator="cpu")
    server.run(host="127.0.0.1", port=port, log_level="error", generate_client_file=False)
