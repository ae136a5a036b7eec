"""The batch that is sampled ahead, with env runners that answer when they are told to."""

from rllib_tactical.rl.sampling.ahead import NOTHING, SAMPLES, SamplesAhead


class Runners:
    """A group of env runners: each call for a batch returns the next one; ``lost`` return none."""

    def __init__(self, *indices):
        self.indices, self.lost = indices, set()
        self.batches, self.in_flight = 0, []

    def foreach_env_runner_async(self, func, tag):
        assert tag == SAMPLES
        assert not self.in_flight, "RLlib would leave out a second request"
        self.batches += 1
        self.in_flight = [
            (index, func(Runner(index, self.batches)))
            for index in self.indices
            if index not in self.lost
        ]

    def fetch_ready_async_reqs(self, tags, timeout_seconds):
        assert (tags, timeout_seconds) == (SAMPLES, 60.0)
        ready, self.in_flight = self.in_flight, []
        return ready


class Runner:
    def __init__(self, index, batch):
        self.index, self.batch = index, batch

    def sample(self):
        return [f"batch {self.batch} of {self.index}, {part}" for part in "ab"]

    def get_metrics(self):
        return {"runner": self.index}


def ahead_of(group, market="bars"):
    return SamplesAhead(group, market, 60.0)


def test_nothing_was_asked_for():
    assert ahead_of(Runners(1)).take() == NOTHING


def test_the_parts_come_in_the_order_of_their_runners_and_once():
    ahead = ahead_of(Runners(2, 1))
    ahead.ask()
    segments = [f"batch 1 of {index}, {part}" for index in (1, 2) for part in "ab"]
    assert ahead.take() == (segments, [{"runner": 1}, {"runner": 2}])
    assert ahead.take() == NOTHING


def test_the_part_of_a_lost_runner_is_missing():
    group = Runners(1, 2)
    group.lost = {1}
    ahead = ahead_of(group)
    ahead.ask()
    assert ahead.take()[1] == [{"runner": 2}]


def test_a_state_has_the_batch_in_flight_and_keeps_it_in_place():
    first = ahead_of(Runners(1))
    first.ask()
    state = first.get_state()
    second = ahead_of(Runners(1))
    second.set_state(state)
    batch = second.take()
    assert batch == first.take() != NOTHING
    assert second.take() == NOTHING


def test_a_restored_state_replaces_what_was_asked_for():
    group = Runners(1)
    ahead = ahead_of(group)
    ahead.ask()
    ahead.set_state(None)
    assert ahead.take() == NOTHING
    assert not group.in_flight
    ahead.ask()
    assert ahead.take()[0][0] == "batch 2 of 1, a"


def test_samples_of_another_market_are_dropped():
    first = ahead_of(Runners(1))
    first.ask()
    second = ahead_of(Runners(1), market="other bars")
    second.set_state(first.get_state())
    assert second.take() == NOTHING
