"""Since when a challenger is compared."""

from __future__ import annotations

import msgspec
import pytest

from rllib_tactical.bundle.bundle import Bundle
from serve.state.machine import StateMachine
from serve.state.records import (
    NO_EXPERIMENT,
    Challenger,
    ExperimentRecord,
    ServingRecord,
    model_record,
)

A, B = (Challenger(f"/{name}", name * 64, "TEST") for name in "ab")


@pytest.fixture
def machine(bundle: Bundle) -> StateMachine:
    return StateMachine(model_record(bundle, "first"))


def test_a_comparison_goes_on_over_starts_and_begins_anew_with_another_champion(
    bundle: Bundle, machine: StateMachine
) -> None:
    assert machine.experiment.record == NO_EXPERIMENT
    machine.apply(ExperimentRecord((A,)))
    machine.apply(None)
    machine.apply(ExperimentRecord((A, B)))
    experiment = machine.experiment
    assert [experiment.since(each) for each in experiment.of("TEST")] == [2, 4]
    assert experiment.of("OTHER") == ()
    machine.apply(model_record(bundle))  # the same bundle, by another start
    assert experiment.since(A) == 2
    other = msgspec.structs.replace(model_record(bundle), bundle_id="c" * 64)
    machine.apply(other)
    assert (experiment.since(A), experiment.since(B)) == (6, 6)
    again = StateMachine.load(machine.dump())
    assert again.experiment.state() == experiment.state()
    machine.apply(ExperimentRecord((B,)))
    machine.apply(ExperimentRecord((B, A)))
    assert (experiment.since(A), experiment.since(B)) == (8, 6)


def test_a_start_writes_its_challengers_where_they_are_others(
    bundle: Bundle, machine: StateMachine
) -> None:
    given, serving = [model_record(bundle, "again")], ServingRecord(("TEST",))

    def next_record(experiment: ExperimentRecord) -> object:
        return machine.check_launch(given, serving, experiment)

    while (record := machine.check_launch(given, serving, NO_EXPERIMENT)) is not None:
        machine.apply(record)
    wanted = ExperimentRecord((A,))
    assert next_record(wanted) == wanted
    machine.apply(wanted)
    assert next_record(wanted) is None
    assert next_record(NO_EXPERIMENT) == NO_EXPERIMENT


def test_turns_are_shared_and_the_same_for_all(machine: StateMachine) -> None:
    experiment = machine.experiment
    machine.apply(ExperimentRecord((A, B)))
    assert experiment.deciding("TEST", 1) is None
    machine.apply(ExperimentRecord((A, B), "session"))
    assert experiment.deciding("TEST", None) is None  # no price yet
    assert experiment.deciding("OTHER", 1) is None
    turns = [experiment.deciding("TEST", session) for session in range(300)]
    assert all(80 < turns.count(each) < 120 for each in (None, A, B))
    again = StateMachine.load(machine.dump()).experiment
    assert [again.deciding("TEST", session) for session in range(300)] == turns
    # by symbol a session changes nothing, and some symbols have another turn
    symbols = [f"S{number}" for number in range(60)]
    arms = tuple(Challenger("/x", name, name) for name in symbols)
    machine.apply(ExperimentRecord(arms, "symbol"))
    found = [experiment.deciding(name, 1) for name in symbols]
    assert found == [experiment.deciding(name, 2) for name in symbols]
    assert 15 < found.count(None) < 45
    machine.apply(ExperimentRecord((A,), "symbol"))
    machine.apply(ExperimentRecord((A,)))
    assert machine.deciding("TEST") == machine.of().model


def test_a_snapshot_of_an_older_version_has_no_challengers(machine: StateMachine) -> None:
    image = msgspec.msgpack.decode(machine.dump())
    del image["experiment"]
    loaded = StateMachine.load(msgspec.msgpack.encode(image))
    assert loaded.experiment.record == NO_EXPERIMENT
