"""An iteration of RLlib's algorithm when everything, or nothing, comes back from the workers."""

from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from rllib_tactical.artifacts.run_folder import RunFolder
from rllib_tactical.errors import TrainingError
from rllib_tactical.rl import train
from rllib_tactical.rl.training import iteration
from rllib_tactical.rl.training.iteration import next_result
from rllib_tactical.rl.training.stopping import StopRequest
from tests.rl.small import small_config


class Algorithm:
    """Gives results, or raises errors, in turn; its learners are remote and answer as told."""

    def __init__(self, *outcomes, learners=(True,), local=False):
        self._outcomes = iter(outcomes)
        self.learner_group = self
        self.is_local, self._learners = local, learners

    def train(self):
        outcome = next(self._outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return {"env_runners": {"num_env_steps_sampled": outcome}}

    def foreach_learner(self, function, healthy_only, timeout_seconds):
        assert not healthy_only
        return [SimpleNamespace(ok=ok) for ok in self._learners]

    def __len__(self):
        return len(self._learners)


@pytest.fixture
def clock(monkeypatch):
    """A clock that only sleeping moves."""
    now = [0.0]
    monkeypatch.setattr(
        iteration,
        "time",
        SimpleNamespace(monotonic=lambda: now[0], sleep=lambda s: now.__setitem__(0, now[0] + s)),
    )
    return now


def test_iterations_without_a_step_are_waited_through(clock):
    result, seconds = next_result(Algorithm(0, 0, 512), 7, StopRequest())
    assert result["env_runners"]["num_env_steps_sampled"] == 512
    assert seconds == 0.0  # the wait for lost runners is not counted
    assert clock == [2.0]


def test_waiting_ends_after_its_time(clock):
    algorithm = Algorithm(*[0] * 1_000)
    with pytest.raises(TrainingError, match=r"no env runner delivered a step for 300 s; continue"):
        next_result(algorithm, 7, StopRequest())
    assert 300 < clock[0] <= 302


def test_a_request_to_stop_ends_the_wait(clock):
    stop = StopRequest()
    stop.asked = True
    with pytest.raises(TrainingError, match="no env runner"):
        next_result(Algorithm(0), 7, stop)
    assert next_result(Algorithm(8), 7, stop)[0]  # what was sampled is kept


TASK_ERROR = RayTaskError("update", "Traceback", ValueError("connection reset"))


@pytest.mark.parametrize(
    ("error", "learners"),
    [(ActorDiedError(), (True, True)), (TASK_ERROR, (True, False))],
)
def test_a_lost_learner_is_said_with_what_it_took_along(error, learners):
    with pytest.raises(TrainingError, match="a learner was lost in iteration 7") as raised:
        next_result(Algorithm(error, learners=learners), 7, StopRequest())
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(("local", "learners"), [(False, (True, True)), (True, ())])
def test_another_error_is_raised_as_it_is(local, learners):
    algorithm = Algorithm(TASK_ERROR, learners=learners, local=local)
    with pytest.raises(RayTaskError):
        next_result(algorithm, 7, StopRequest())


@pytest.mark.ray
def test_a_lost_env_runner_costs_nothing_but_its_samples(bars, tmp_path, ray_instance):
    """The only env runner is killed after the first iteration; the run still does all three."""
    killed: list[Any] = []

    def log(line):
        if line.startswith("iter") and not killed:
            for process in psutil.Process().children(recursive=True):
                if "BatchedEnvRunner" in process.name() or any(
                    "BatchedEnvRunner" in word for word in process.cmdline()
                ):
                    process.kill()
                    killed.append(process.pid)

    config = small_config(num_env_runners=1, iterations=3, checkpoint_every=3, record_rollouts=True)
    train([bars], tmp_path / "run", config, log=log)
    assert len(killed) == 1
    rows = RunFolder(tmp_path / "run").progress()
    assert [row["iteration"] for row in rows] == [1, 2, 3]
    assert all(row["env_steps"] > 0 for row in rows)
    recorded = sorted(path.name.partition("-")[0] for path in (tmp_path / "run/rollouts").iterdir())
    assert recorded == ["000001", "000002", "000003"]
