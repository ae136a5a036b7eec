"""What a job decides by the size of its cluster; the cluster's answers are scripted."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
import ray
import torch

from rllib_tactical.errors import ConfigError, TrainingError
from rllib_tactical.runtime import ray_cluster
from rllib_tactical.runtime.ray_cluster import (
    NODE_GROUP,
    await_cpus,
    make_room,
    may_grow,
    named_cluster,
    require_answer,
    require_gpus,
    start_ray,
)
from tests.small_ray import small_ray


class Cluster:
    """A cluster of one node that may be told to grow with each look at it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cpus: float = 2.0, gpus: int = 0) -> None:
        self.cpus, self.gpus, self.added = cpus, gpus, 0.0
        self.held: list[float] = []  # CPUs of other jobs, look by look; none afterwards
        self.labels: dict[str, str] = {}
        self.asked: list[Any] = []
        monkeypatch.setattr(ray, "is_initialized", lambda: True)
        monkeypatch.setattr(ray, "cluster_resources", self._resources)
        monkeypatch.setattr(ray, "available_resources", self._available)
        monkeypatch.setattr(
            ray, "nodes", lambda: [{"Alive": True, "Labels": self.labels}, {"Alive": False}]
        )
        monkeypatch.setattr("ray.util.placement_group", self._ask)
        monkeypatch.setattr("ray.util.remove_placement_group", self.asked.remove)

    def _resources(self) -> dict[str, float]:
        found = {"CPU": self.cpus, "GPU": float(self.gpus)}
        self.cpus += self.added
        return found

    def _available(self) -> dict[str, float]:
        held = self.held.pop(0) if self.held else 0.0
        return {"CPU": self.cpus - held} if self.cpus > held else {}

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


def test_a_busy_cluster_is_waited_for_and_whoever_holds_it_is_said(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(ray_cluster, "other_jobs", lambda: ["'train.py' (process 7 on a)"])
    cluster.held = [2.0, 2.0, 1.0]
    said: list[str] = []
    assert make_room(2, said.append) == 2.0
    assert said == ["waiting for 2 CPUs: 0 are free, held by 'train.py' (process 7 on a)"]
    assert pauses == [1.0, 1.0, 1.0]


def test_what_no_other_job_holds_is_not_waited_for(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "other_jobs", list)
    cluster.held = [2.0] * 9
    assert make_room(2, pytest.fail) == 2.0


HOLDER = """
import ray, sys
ray.init(log_to_driver=False, logging_level="ERROR")

@ray.remote(num_cpus=2)
class Worker:
    def ready(self):
        return True

worker = Worker.remote()
ray.get(worker.ready.remote())
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.ray
def test_two_jobs_on_one_cluster_tell_each_other_apart() -> None:
    """With a real second job: it holds both CPUs until it ends."""
    with small_ray():
        require_answer(ray.get_runtime_context().gcs_address)
        environment = os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
        command = [sys.executable, "-c", HOLDER]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe) as holder:
            assert holder.stdin and holder.stdout
            end = holder.stdin.close
            assert holder.stdout.readline() == b"held\n"
            said: list[str] = []

            def log(line: str) -> None:
                said.append(line)
                end()

            try:
                make_room(2, log)
            finally:
                holder.kill()
        assert len(said) == 1
        assert said[0].startswith("waiting for 2 CPUs: 0 are free, held by ")
        assert f"process {holder.pid} on" in said[0]


@pytest.mark.parametrize("form", ["{}", "ray://{}"])
def test_a_cluster_that_does_not_answer_is_said_at_once(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = form.format(f"127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setenv("RAY_ADDRESS", address)
        before = time.monotonic()
        with pytest.raises(TrainingError, match=f"answers, found '{address}': .*refused"):
            start_ray(1)
        assert time.monotonic() - before < 5


def test_an_address_that_swallows_what_is_sent_is_given_up() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        try:
            with pytest.raises(TrainingError, match="timed out"):
                require_answer(f"127.0.0.1:{port}", timeout_s=0.1)
        finally:
            for each in waiting:
                each.close()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"-ERR\r\n", b""])
def test_a_server_of_something_else_is_not_taken_for_ray(answer: bytes) -> None:
    """Ray itself would wait for it without end."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def serve() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(answer)

        server = threading.Thread(target=serve)
        server.start()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(TrainingError, match=f"found '{address}': what listens there is no"):
            require_answer(address)
        server.join()


def test_a_listener_that_says_nothing_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TrainingError, match=f"found '{address}': timed out"):
            require_answer(address, timeout_s=0.1)


@pytest.mark.parametrize("address", ["auto", "nonsense", "[::1]:x"])
def test_other_forms_of_an_address_are_left_to_ray(address: str) -> None:
    require_answer(address)
