"""Bundles of one symbol that follow each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle, export_bundle
from tests.backtest.conftest import bundle, history  # noqa: F401  (fixtures)


@pytest.fixture(scope="session")
def family(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:  # noqa: F811
    """Return three bundles, each the parent of the next."""
    made = [bundle]
    for number in (2, 3):
        made.append(child_of(made[-1], tmp_path_factory.mktemp("family") / str(number), number))
    return made


def child_of(parent: Bundle, out: Path, number: int) -> Bundle:
    return export_bundle(
        out,
        weights=parent.weights,
        rules=parent.rules,
        instrument=parent.instrument,
        bar_seconds=300,
        temperature_scale=parent.temperature_scale,
        training={"number": number},
        metrics={"validation": {"net_pnl": 100.0 * number}},
        parent=parent.bundle_id,
    )
