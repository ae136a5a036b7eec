"""What a job decides by the size of its cluster; the cluster's answers are scripted."""

from __future__ import annotations

import time
from typing import Any

import pytest
import ray
import torch

from rllib_tactical.errors import ConfigError, TrainingError
from rllib_tactical.runtime.ray_cluster import (
    NODE_GROUP,
    await_cpus,
    make_room,
    may_grow,
    named_cluster,
    require_gpus,
    start_ray,
)


class Cluster:
    """A cluster of one node that may be told to grow with each look at it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cpus: float = 2.0, gpus: int = 0) -> None:
        self.cpus, self.gpus, self.added = cpus, gpus, 0.0
        self.labels: dict[str, str] = {}
        self.asked: list[Any] = []
        monkeypatch.setattr(ray, "is_initialized", lambda: True)
        monkeypatch.setattr(ray, "cluster_resources", self._resources)
        monkeypatch.setattr(
            ray, "nodes", lambda: [{"Alive": True, "Labels": self.labels}, {"Alive": False}]
        )
        monkeypatch.setattr("ray.util.placement_group", self._ask)
        monkeypatch.setattr("ray.util.remove_placement_group", self.asked.remove)

    def _resources(self) -> dict[str, float]:
        found = {"CPU": self.cpus, "GPU": float(self.gpus)}
        self.cpus += self.added
        return found

    def _ask(self, bundles: list[dict[str, float]]) -> object:
        self.asked.append(bundles)
        return bundles

    def can_grow(self, added: float = 0.0) -> None:
        """Label the node as a launcher does; each look finds ``added`` CPUs more."""
        self.labels, self.added = {NODE_GROUP: "worker"}, added


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch)


@pytest.mark.parametrize(
    ("value", "named"), [(None, None), ("", None), ("local", None), ("auto", "auto")]
)
def test_local_names_no_cluster(
    monkeypatch: pytest.MonkeyPatch, value: str | None, named: str | None
) -> None:
    monkeypatch.delenv("RAY_ADDRESS")
    if value is not None:
        monkeypatch.setenv("RAY_ADDRESS", value)
    assert named_cluster() == named


def test_only_a_launchers_cluster_may_grow(cluster: Cluster) -> None:
    assert not may_grow()
    cluster.can_grow()
    assert may_grow()


def test_a_cluster_that_is_large_enough_is_not_waited_for(cluster: Cluster) -> None:
    cluster.can_grow()
    assert make_room(2, pytest.fail) == 2.0
    assert cluster.asked == []


def test_a_cluster_that_grows_is_asked_and_waited_for(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    cluster.can_grow(added=1.0)
    said: list[str] = []
    assert make_room(5, said.append) == 5.0
    assert said == ["waiting for 5 CPUs: the Ray cluster has 2 and may grow"]
    assert pauses == [0.5, 0.5]  # it had 3, 4 and then 5
    assert cluster.asked == []  # what was asked for is given back


def test_waiting_comes_to_an_end_and_gives_back_what_it_asked_for(cluster: Cluster) -> None:
    assert await_cpus(4, timeout_s=0.0) == 2.0
    assert cluster.asked == []


def test_too_few_cpus_are_said_before_training_starts(cluster: Cluster) -> None:
    start_ray(2)
    with pytest.raises(TrainingError, match="need 3 CPUs, the Ray cluster has 2"):
        start_ray(3)


def test_learners_need_their_gpus_in_the_cluster(cluster: Cluster) -> None:
    require_gpus(0, 2)
    cluster.gpus = 2
    require_gpus(1, 2)
    with pytest.raises(ConfigError, match="the Ray cluster must have 4 GPUs, found 2"):
        require_gpus(2, 2)
    cluster.can_grow()
    require_gpus(2, 2)  # the nodes with GPUs may come


def test_without_learners_the_driver_needs_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    require_gpus(1, 0)
    with pytest.raises(ConfigError, match="this machine must have 2 GPUs, found 1"):
        require_gpus(2, 0)


def test_ray_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**options: Any) -> None:
        raise RuntimeError("no port is free")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(TrainingError, match="Ray did not start: no port is free"):
        start_ray(1)
