from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from rllib_tactical.bundle.bundle import Bundle
from serve.api.experiment import ChallengerAnswer, ExperimentAnswer, SymbolExperiment
from serve.experiment.status import (
    EXPERIMENT_FILE,
    STALE_S,
    ExperimentReader,
    experiment_alerts,
    stale_alerts,
    write_experiment,
)
from serve.state.machine import StateMachine
from serve.state.records import Challenger, ExperimentRecord, model_record


def challenger(bundle_id: str, verdict: str = "running") -> ChallengerAnswer:
    return msgspec.convert(
        {
            "bundle_id": bundle_id,
            "since_s": 5.0,
            "decisions": 3,
            "unanswered": 1,
            "agreement": 0.5,
            "account": None,
            "champion_account": {
                "equity": 100.0,
                "net_pnl": 1.0,
                "max_drawdown": 0.0,
                "trades": 1,
                "position": 0.0,
            },
            "sessions": 2,
            "mean": 0.0,
            "low": -0.1,
            "high": 0.1,
            "confidence": 0.95,
            "verdict": verdict,
            "words": "some words",
        },
        ChallengerAnswer,
    )


def answer(*challengers: ChallengerAnswer, at_s: float = 7.0) -> ExperimentAnswer:
    own = SymbolExperiment(champion="c", challengers=list(challengers))
    return ExperimentAnswer(at_s=at_s, symbols={"X": own})


def test_a_replica_shows_the_challengers_of_the_bundle_that_decides(
    bundle: Bundle, tmp_path: Path
) -> None:
    model = msgspec.structs.replace(model_record(bundle, "first"), bundle_id="c")
    machine, reader = StateMachine(model), ExperimentReader(tmp_path / "state")
    arms = tuple(Challenger(f"/{name}", name, "TEST") for name in "ab")
    machine.apply(ExperimentRecord(arms))
    assert reader.read(machine) == ExperimentAnswer()

    def shown(turn: str = "c") -> ExperimentAnswer:
        own = SymbolExperiment(champion="c", challengers=[challenger("a")], deciding=turn)
        return ExperimentAnswer(at_s=7.0, symbols={"TEST": own})

    found = SymbolExperiment(champion="c", challengers=[challenger("a"), challenger("gone")])
    write_experiment(tmp_path / "state", ExperimentAnswer(at_s=7.0, symbols={"TEST": found}))
    assert reader.read(machine) == shown()
    path = tmp_path / "state" / EXPERIMENT_FILE
    path.write_text("not JSON, and of another time")
    assert reader.read(machine) == shown()  # what was known last
    machine.apply(ExperimentRecord(arms, "symbol"))
    turn = machine.deciding("TEST").bundle_id
    assert reader.read(machine) == msgspec.structs.replace(shown(turn), split="symbol")
    # another bundle is chosen now; or there is no experiment any more
    machine.apply(msgspec.structs.replace(model, bundle_id="d"))
    assert reader.read(machine).symbols == {}
    machine.apply(ExperimentRecord())
    machine.apply(model)
    assert reader.read(machine) == ExperimentAnswer()
    machine.apply(ExperimentRecord(arms))
    path.unlink()
    assert reader.read(machine) == ExperimentAnswer()


@pytest.mark.parametrize("verdict", ["better", "worse", "hopeless"])
def test_a_result_is_an_alert(verdict: str) -> None:
    found = answer(challenger("a"), challenger("b" * 64, verdict))
    (alert,) = experiment_alerts(found, "X")
    assert (alert.code, alert.severity) == ("experiment_decided", "warning")
    assert alert.message == f"challenger {'b' * 12}: some words"
    assert experiment_alerts(found, "X", named=True)[0].message.startswith("X: challenger b")
    assert experiment_alerts(found, "Y") == []


def test_a_shadow_that_looks_no_more_is_an_alert() -> None:
    assert stale_alerts(ExperimentAnswer(), 1e9) == []
    assert stale_alerts(answer(), 7.0 + STALE_S) == []
    (alert,) = stale_alerts(answer(), 8.0 + STALE_S)
    assert alert.message == "the challengers have answered nothing for 601 s"
