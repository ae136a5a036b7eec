"""The simulated env runners; what is measured with them is in ``test_engine``."""

from ray import cloudpickle

from rllib_tactical.bench.cluster import Players, memory_rows


def test_players_send_the_prepared_batches_in_turn():
    players = Players([cloudpickle.dumps([name]) for name in ("a", "b")])
    assert [players.sample() for _ in range(3)] == [["b"], ["a"], ["b"]]


class Growing:
    """Keeps 40 MB of every iteration after the third: more than an allocator has left over."""

    def __init__(self):
        self.trained, self.kept = 0, []

    def train(self):
        self.trained += 1
        if self.trained > 3:
            self.kept.append(b"x" * 40_000_000)


def test_memory_that_grows_is_seen():
    algorithm = Growing()
    held, row = memory_rows(algorithm, (3, 6))
    assert algorithm.trained == 6
    assert 110 < row.measurement.median < 140
    assert row.met is False
    assert held.measurement.median > 50
