import numpy as np

from rllib_tactical.rl.episode import BYTES_PER_STEP, JointEpisode


def episode(length=5, terminated=False, truncated=True):
    return JointEpisode(
        "a",
        np.arange(length + 1, dtype=np.int32),
        np.zeros((length + 1, 4), dtype=np.float32),
        np.zeros((length, 3), dtype=np.int8),
        np.zeros((length, 3), dtype=np.float32),
        np.arange(length * 3, dtype=np.float32).reshape(length, 3),
        terminated,
        truncated,
    )


def test_counts_steps():
    assert len(episode()) == episode().env_steps() == 5
    assert episode().agent_steps() == 15


def test_a_slice_keeps_the_state_after_its_last_step():
    part = episode()[1:3]
    assert part.t.tolist() == [1, 2, 3]
    assert part.rewards[:, 0].tolist() == [3, 6]


def test_only_the_last_slice_keeps_the_end():
    assert not episode()[0:3].is_done
    assert episode()[3:5].is_truncated


def test_bytes_per_step_are_what_the_arrays_hold():
    whole = episode(100)
    held = sum(
        getattr(whole, name).nbytes for name in ("t", "account", "actions", "logp", "rewards")
    )
    assert held / 100 <= BYTES_PER_STEP + 1
    assert BYTES_PER_STEP <= 64
