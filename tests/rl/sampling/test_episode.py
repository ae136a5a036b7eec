import dataclasses

import numpy as np

from rllib_tactical.rl.sampling.episode import joined
from tests.rl.segments import segment


def truncated(length=5, accounts=2):
    return dataclasses.replace(segment(length, 0, accounts), ended=True)


def test_counts_steps():
    assert len(truncated()) == 5
    assert truncated().env_steps() == 10
    assert truncated().agent_steps() == 30


def test_a_slice_keeps_the_state_after_its_last_step():
    whole = truncated()
    part = whole[1:3]
    assert part.t.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(part.rewards, whole.rewards[1:3])
    np.testing.assert_array_equal(part.account, whole.account[1:4])


def test_only_the_last_slice_keeps_the_end():
    assert not truncated()[0:3].is_done
    assert truncated()[3:5].is_truncated
    ended = segment(4, 0, accounts=2, ended=True)
    assert ended.is_terminated
    assert ended.is_done
    assert not ended[:3].is_done


def test_slices_join_again():
    whole = truncated(9)
    again = joined([whole[:2], whole[2:3], whole[3:]])
    for name in ("t", "account", "actions", "logp", "rewards", "terminated"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    assert again.is_truncated


def test_an_account_alone_is_cut_where_its_episode_ended():
    whole = truncated(6, accounts=3)
    whole.terminated[1, 2] = True
    first, second = whole.by_account(2)
    assert (len(first), first.is_terminated, first.is_truncated) == (2, True, False)
    assert (len(second), second.is_terminated, second.is_truncated) == (4, False, True)
    np.testing.assert_array_equal(first.rewards, whole.rewards[:2, 2:])
    np.testing.assert_array_equal(second.account, whole.account[2:, 2:])
    (other,) = whole.by_account(0)
    assert len(other) == 6


def test_the_return_counts_everybody():
    whole = truncated()
    assert abs(whole.get_return() - whole.rewards.sum()) < 1e-4
