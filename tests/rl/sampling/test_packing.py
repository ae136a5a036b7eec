"""Steps are packed without loss: every bit of every array comes back, its type and shape too."""

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rllib_tactical.rl.sampling.packing import Steps, packed, unpacked
from tests.rl.segments import segment


def assert_alike(steps, again):
    for name in Steps._fields:
        one, other = getattr(steps, name), getattr(again, name)
        assert (one.dtype, one.shape) == (other.dtype, other.shape), name
        assert one.tobytes() == other.tobytes(), name


def traded(length=300, accounts=4, logged=True, seed=0):
    """Return steps as a simulator makes them: trades of some bars, alike votes alike drawn."""
    rng = np.random.default_rng(seed)
    account = np.zeros((length + 1, accounts, 4), dtype=np.float32)
    for k in range(accounts):
        for opened in range(5 * k, length - 10, 60 if k else 200):
            rows = np.arange(opened, min(opened + (30 if k else 190), length + 1))
            account[rows, k, 0] = 1 - 2 * (k % 2)
            account[rows, k, 1] = rng.normal(size=len(rows))
            account[rows, k, 2] = np.minimum((rows - opened) / 60.0, 2.0)  # the longest is capped
            account[rows, k, 3] = np.abs(rng.normal(size=len(rows)))
    actions = rng.integers(0, 3, (length, accounts, 3)).astype(np.int8)
    by_vote = np.log(rng.uniform(0.1, 0.9, (length, 3, 3))).astype(np.float32)
    logp = by_vote[np.arange(length)[:, None, None], np.arange(3), actions]
    rewards = np.where(account[:-1, :, :1] != 0, rng.normal(size=(length, accounts, 1)), 0.0)
    return Steps(
        np.arange(700, 701 + length, dtype=np.int32),
        account,
        actions,
        logp if logged else logp[..., :0],
        np.repeat(rewards, 3, axis=-1).astype(np.float32),
        rng.random((length, accounts)) < 0.01,
    )


def test_a_fifth_feature_of_accounts_that_share_places_comes_back():
    steps = traded()
    held = np.repeat(np.arange(301) // 40 % 3 / 2.0, 4).reshape(301, 4, 1).astype(np.float32)
    wider = steps._replace(account=np.concatenate([steps.account, held], axis=-1))
    assert_alike(wider, unpacked(packed(wider)))
    assert len(packed(wider)) < len(packed(steps)) + 200


@pytest.mark.parametrize("logged", [True, False])
@pytest.mark.parametrize("accounts", [1, 4])
def test_steps_of_trades_come_back(accounts, logged):
    steps = traded(accounts=accounts, logged=logged)
    assert_alike(steps, unpacked(packed(steps)))


def test_what_does_not_vary_costs_next_to_nothing():
    """A flat account of which no vote is logged: one byte a step."""
    flat = traded(logged=False)
    for name in ("account", "rewards", "terminated"):
        getattr(flat, name)[:] = 0
    assert len(packed(flat)) < flat.terminated.size * 1.1


def test_bars_in_a_trade_are_written_once_a_trade():
    """Also beyond the cap of the feature: trades of 190 bars at most, of which 120 count."""
    steps = traded(accounts=1, logged=False)
    steps.account[..., [1, 3]] = 0
    steps.rewards[:] = 0
    assert (steps.account[..., 2] == 2.0).sum() > 50
    assert len(packed(steps)) < steps.terminated.size + 60


def test_alike_rewards_are_written_once_and_alike_votes_too():
    steps = traded(accounts=4)
    apart = steps._replace(rewards=steps.rewards * np.array([1, 2, 3], np.float32))
    drawn_apart = steps._replace(logp=steps.logp * np.array([1, 2, 3, 4], np.float32)[:, None])
    size = len(packed(steps))
    assert len(packed(apart)) > size + 2 * 3 * (steps.rewards[..., 0] != 0).sum()
    assert len(packed(drawn_apart)) > size + steps.logp.size
    for each in (apart, drawn_apart):
        assert_alike(each, unpacked(packed(each)))


FLOATS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, 1 / 60, 0.5, 1e-40, np.inf, -np.inf, np.nan])


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(1, 12), st.integers(1, 3), st.booleans())
def test_whatever_there_is_comes_back(data, length, accounts, logged):
    def floats(*shape):
        elements = FLOATS | st.floats(width=32)
        return data.draw(arrays.arrays(np.float32, shape, elements=elements))

    def integers(dtype, low, high, *shape):
        return data.draw(arrays.arrays(dtype, shape, elements=st.integers(low, high)))

    steps = Steps(
        integers(np.int32, -(2**31), 2**31 - 1, length + 1),
        floats(length + 1, accounts, 4),
        integers(np.int8, 0, 2, length, accounts, 3),
        floats(length, accounts, 3 if logged else 0),
        floats(length, accounts, 3),
        integers(np.int8, 0, 1, length, accounts).astype(np.bool_),
    )
    assert_alike(steps, unpacked(packed(steps)))


def test_a_pickled_segment_is_packed_and_comes_back_whole():
    whole = dataclasses.replace(
        segment(40, 400, accounts=3, seed=2), ended=True, custom_data={"note": 1}
    )
    again = pickle.loads(pickle.dumps(whole))
    for field in dataclasses.fields(whole):
        one, other = getattr(whole, field.name), getattr(again, field.name)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype
            assert one.tobytes() == other.tobytes(), field.name
            assert other.flags.writeable, field.name
        else:
            assert one == other


def test_a_segment_without_steps_comes_back():
    empty = segment(3, 0)[:0]
    again = pickle.loads(pickle.dumps(empty))
    assert len(again) == 0
    assert again.t.tolist() == [0]
    assert again.account.tobytes() == empty.account.tobytes()
