"""A paper session's files are those of ``tactical backtest``, also after interruptions."""

from __future__ import annotations

import json
import random
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from rllib_tactical.backtest.report.writer import FILES
from rllib_tactical.bundle.bundle import Bundle, load_bundle
from rllib_tactical.cli import main as cli
from rllib_tactical.data.files import write_bars
from rllib_tactical.errors import ServiceError, UsageError
from rllib_tactical.live.log import LOG
from rllib_tactical.live.run import PaperRequest, run_paper
from serve.client import DecisionClient
from tests.contract import parity
from tests.live.served import served

pytestmark = pytest.mark.slow


class Scene:
    """Bars with holes in a file, a bundle that trades them, and the backtest of both."""

    def __init__(self, folder: Path) -> None:
        self.case = parity.holes(parity.synthetic())
        self.data, self.out = folder / "bars.csv", folder / "backtest"
        write_bars(self.case.bars, self.data)
        self.bundle: Bundle = parity.opinionated(folder / "bundle", self.case)
        arguments = ["--bundle", self.bundle.path, "--data", self.data, "--out", self.out]
        with pytest.raises(SystemExit) as stop:
            cli.run(["backtest", *map(str, arguments)])
        assert not stop.value.code

    def request(self, out: Path, **changes: Any) -> PaperRequest:
        return PaperRequest(bundle=self.bundle, url=None, data=self.data, out=out, **changes)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("scene"))


def assert_like_the_backtest(scene: Scene, out: Path) -> None:
    assert (out / "trades.csv").read_bytes() == (scene.out / "trades.csv").read_bytes()
    for name in ("equity.parquet", "decisions.parquet"):
        assert (out / name).read_bytes() == (scene.out / name).read_bytes(), name
    kpis, expected = (json.loads((each / "kpis.json").read_text()) for each in (out, scene.out))
    assert kpis == expected


def test_the_files_are_those_of_the_backtest(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "paper"
    shares: list[float] = []
    # the log makes the state again: nothing waits for a disk
    monkeypatch.setattr("rllib_tactical.live.log.os", object())
    outcome = run_paper(scene.request(out), lambda what, share: shares.append(share))
    assert_like_the_backtest(scene, out)
    assert sorted(path.name for path in out.iterdir()) == sorted([*FILES, LOG])
    assert len(outcome.comparison.policy.result.trades) > 10
    config, expected = (json.loads((each / "config.json").read_text()) for each in (out, scene.out))
    assert (config.pop("kind"), config.pop("service")) == ("paper", None)
    assert expected.pop("kind") == "backtest"
    assert config == expected
    assert shares == sorted(shares)
    with pytest.raises(UsageError, match="continue it with --resume"):
        run_paper(scene.request(out))


class Killed(Exception):
    pass


def killed_at(number: int) -> Any:
    """Return a progress function that ends the session after so many decisions."""
    left = [number]

    def update(what: str, share: float) -> None:
        left[0] -= what == "paper session"
        if left[0] < 0:
            raise Killed

    return update


def test_a_session_that_is_ended_again_and_again_is_the_same(scene: Scene, tmp_path: Path) -> None:
    out, rng = tmp_path / "paper", random.Random(5)
    resume = False
    for _ in range(4):
        with pytest.raises(Killed):
            run_paper(scene.request(out, resume=resume), killed_at(rng.randrange(1, 120)))
        resume = True
    log = out / LOG
    log.write_bytes(log.read_bytes()[:-17])  # in the middle of a line
    run_paper(scene.request(out, resume=True))
    assert_like_the_backtest(scene, out)


def test_other_bars_or_another_bundle_end_a_session(scene: Scene, tmp_path: Path) -> None:
    out = tmp_path / "paper"
    with pytest.raises(Killed):
        run_paper(scene.request(out), killed_at(5))
    changed = scene.case.bars.close.copy()
    changed[361] = scene.case.bars.open[361]
    other = tmp_path / "bars.csv"
    write_bars(replace(scene.case.bars, close=changed), other)
    request = scene.request(out, resume=True)
    with pytest.raises(UsageError, match="found other bars in the data"):
        run_paper(replace(request, data=other))
    bundle = parity.opinionated(tmp_path / "bundle", scene.case, synergies="none")
    with pytest.raises(UsageError, match="the session began with bundle_id"):
        run_paper(replace(request, bundle=bundle))
    with pytest.raises(UsageError, match="there is no paper session in"):
        run_paper(scene.request(tmp_path / "new", resume=True))


def test_a_growing_file_is_traded_as_it_would_be_when_whole(scene: Scene, tmp_path: Path) -> None:
    """Until the interrupt that ends it; sessions whose last bars never came included."""
    lines = scene.data.read_text().splitlines(keepends=True)
    data, out = tmp_path / "bars.csv", tmp_path / "paper"
    data.write_text("".join(lines[:500]))
    written = [500]

    def grow(seconds: float) -> None:
        if written[0] >= len(lines):
            raise KeyboardInterrupt
        written[0] += 40
        data.write_text("".join(lines[: written[0]]))

    request = replace(scene.request(out, follow=True), data=data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rllib_tactical.live.market.time", SimpleNamespace(sleep=grow))
        run_paper(request)
    trades, expected = ((each / "trades.csv").read_text().splitlines() for each in (out, scene.out))
    assert trades[:-1] == expected[:-1]
    # a file that ends in the middle of a session closes nothing as long as it may go on
    assert (",end_of_data," in trades[-1], ",session_end," in expected[-1]) == (True, True)
    equity, whole = (pd.read_parquet(each / "equity.parquet") for each in (out, scene.out))
    assert equity["equity"].tolist()[:-1] == whole["equity"].tolist()[:-1]


def books(url: str) -> Any:
    with DecisionClient(url) as client:
        return client.performance(3650)


def test_a_running_service_decides_and_its_books_agree_to_the_cent(
    scene: Scene, tmp_path: Path
) -> None:
    """Also when the session is ended in between: no trade twice, none lost."""
    out, state = tmp_path / "paper", tmp_path / "state"
    rng = random.Random(7)
    with served(scene.bundle.path, state) as url:
        remote = replace(scene.request(out), bundle=None, url=url)
        with pytest.raises(Killed):
            run_paper(remote, killed_at(rng.randrange(20, 200)))
        with pytest.raises(ServiceError, match="bars and no others, found"):
            run_paper(replace(remote, out=tmp_path / "other"))
        with pytest.raises(Killed):
            run_paper(replace(remote, resume=True), killed_at(rng.randrange(20, 200)))
    with served(scene.bundle.path, state) as url:  # the service was started again meanwhile
        outcome = run_paper(replace(remote, url=url, resume=True, bundle=scene.bundle))
        assert_like_the_backtest(scene, out)
        trades = outcome.comparison.policy.result.trades
        closed = trades[trades["exit_reason"] != "end_of_data"]
        found = books(url)
        assert found.trades == len(closed)
        assert found.net_pnl == pytest.approx(closed["pnl"].sum(), abs=0.005)
        other = parity.opinionated(tmp_path / "bundle", scene.case, synergies="none")
        wrong = replace(remote, url=url, bundle=load_bundle(other.path), out=tmp_path / "third")
        with pytest.raises(ServiceError, match="the service decides with"):
            run_paper(wrong)


def test_what_a_request_needs_is_said_before_anything_is_done(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give --bundle, --url of a running service, or both"):
        PaperRequest(bundle=None, url=None, data=scene.data, out=tmp_path)
    with pytest.raises(UsageError, match="--stop and --speed are for a file"):
        scene.request(tmp_path, follow=True, speed=2.0)


def test_two_sessions_do_not_write_one_log(scene: Scene, tmp_path: Path) -> None:
    inside, go = threading.Event(), threading.Event()

    def slow(what: str, share: float) -> None:
        if what == "paper session":
            inside.set()
            go.wait(60.0)
            raise Killed

    def first() -> None:
        with pytest.raises(Killed):
            run_paper(scene.request(tmp_path / "paper"), slow)

    thread = threading.Thread(target=first)
    thread.start()
    try:
        assert inside.wait(60.0)
        with pytest.raises(ServiceError, match="another session is writing to it"):
            run_paper(scene.request(tmp_path / "paper", resume=True))
    finally:
        go.set()
        thread.join()
