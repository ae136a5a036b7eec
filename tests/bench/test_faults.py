"""The section's faults, once each, on a real service: nothing wrong, lost or unaudited."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rllib_tactical.bench import faults
from rllib_tactical.bench.faults import FaultSize
from rllib_tactical.bench.measurement import Row
from rllib_tactical.bench.requests import HOST, REPLAY, untrained_bundle
from rllib_tactical.bench.scene import Market, Outcome, Scene, traded
from rllib_tactical.bench.service_process import KINDS
from rllib_tactical.synthetic import make_market
from serve.deploy.ray_serve import reserve_port
from tests.ports import ports_of_serve

SIZE = FaultSize(kills=1, bars=900, pause_s=0.05, bad_requests=500)


def test_each_kind_of_process_is_killed() -> None:
    kinds = (*faults.REPLACED, *faults.ENDING, *faults.HELPERS)
    assert len(kinds) == len(set(kinds)) == len(KINDS) + 1


def test_an_outcome_by_hand() -> None:
    rows = list(faults._outcome_rows("killed", Outcome(100, 7, 0, 1, 2)))
    assert [(row.measurement.median, row.met) for row in rows] == [
        (0, True),
        (1, False),
        (2, False),
    ]
    assert rows[0].name == "killed: wrong answers of 7 orders, 100 decisions"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[faults._Run]:
    folder = tmp_path_factory.mktemp("faults")
    history = make_market("momentum", 1, SIZE.bars).history()
    config = folder / "service.yaml"
    config.write_text(REPLAY.replace("live_bars", "lease_s: 6.0\n    live_bars"))
    bundle = untrained_bundle(folder / "bundle", history)
    market = Market(bundle=bundle, history=history, config=config)
    with ports_of_serve():  # wait for other real services to end
        scene = Scene(market, folder / "undisturbed", reserve_port(HOST, 0))
        try:
            reference = traded(scene, market).wait()
        finally:
            scene.service.stop()
        assert scene.outcome(reference, reference).orders > 10
        slowly = Market(bundle=bundle, history=history, config=config, pause_s=SIZE.pause_s)
        yield faults._Run(slowly, folder, reference, SIZE, lambda text: None)


def unmet(rows: Iterator[Row]) -> list[str]:
    found = list(rows)
    assert found
    # how long it took depends on what else the machine does
    return [row.name for row in found if row.unit != "s" and row.met is False]


@pytest.mark.ray
@pytest.mark.serve
@pytest.mark.slow
@pytest.mark.parametrize("fault", ["replica", "disk", "server", "bad requests"])
def test_nothing_is_wrong_lost_or_unaudited(run: faults._Run, fault: str) -> None:
    rows = {
        "replica": lambda: faults._replaced(run, "replica", 1),
        "disk": lambda: faults._disk_full(run),
        "server": lambda: faults._server_gone(run),
        "bad requests": lambda: faults._refusals(run),
    }[fault]()
    assert unmet(rows) == []
