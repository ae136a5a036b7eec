"""Chains of steps on two threads: order within a chain, errors, and who computes."""

import threading

import pytest
import torch

from rllib_tactical.rl.algorithm.threads import ChainRunner


@pytest.fixture
def runner():
    runner = ChainRunner(2)
    yield runner
    runner.close()


def test_every_step_runs_once_and_each_chain_in_its_order(runner):
    done = []
    chains = [[lambda c=c, k=k: done.append((c, k)) for k in range(5)] for c in "abcd"]
    runner.run(chains)
    assert sorted(done) == [(c, k) for c in "abcd" for k in range(5)]
    for chain in "abcd":
        assert [k for c, k in done if c == chain] == list(range(5))


def test_two_chains_run_at_the_same_time_with_the_callers_number_of_threads(runner):
    both = threading.Barrier(2, timeout=10)
    seen = []

    def meet():
        both.wait()  # breaks unless the other chain runs now
        seen.append((threading.current_thread().name, torch.get_num_threads()))

    runner.run([[meet], [meet]])
    assert {name for name, _ in seen} >= {"MainThread"}
    assert len({name for name, _ in seen}) == 2
    assert {threads for _, threads in seen} == {torch.get_num_threads()}


def test_the_first_chain_goes_first_and_then_the_one_with_most_steps_left(runner):
    """One thread alone shows the order: the other one is held up in the first chain."""
    entered, go = threading.Event(), threading.Event()
    order = []

    def hold():
        entered.set()
        assert go.wait(10)

    def free():
        order.append("c3")
        go.set()

    def step(name):
        assert entered.wait(10)
        order.append(name)

    runner.run(
        [
            [hold],
            [lambda: step("b1"), lambda: step("b2")],
            [lambda: step("c1"), lambda: step("c2"), free],
        ]
    )
    assert order[:3] == ["c1", "b1", "c2"] or order[:3] == ["c1", "c2", "b1"]


@pytest.mark.parametrize("failing", [0, 1])
def test_what_a_step_raises_is_raised_and_no_further_step_begins(runner, failing):
    both, begun = threading.Barrier(2, timeout=10), []

    def step(chain):
        both.wait()
        if chain == failing:
            raise ValueError("no gradient")

    def later(chain):
        begun.append(chain)

    chains = [[lambda c=c: step(c), *[lambda c=c: later(c)] * 100_000] for c in range(2)]
    with pytest.raises(ValueError, match="no gradient"):
        runner.run(chains)
    assert failing not in begun
    assert len(begun) < 100_000
    runner.run([[lambda: begun.append("again")], []])  # it can be used again
    assert begun[-1] == "again"
