"""The Ray cluster that a job runs on: join it or start one, and wait while it grows."""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import Callable
from typing import Final

from rllib_tactical.errors import ConfigError, TrainingError

NODE_GROUP: Final = "ray.io/node-group"
ANSWER_TIMEOUT_S: Final = 4.0
"""How long a cluster may take to answer. Ray itself tries for over a minute, then ends the process.
"""
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How a client of HTTP/2 begins (RFC 9113, 3.4): fixed words and settings without a value."""
_SETTINGS: Final = 4  # type of the frame with which a server begins
GROWTH_TIMEOUT_S: Final = 900.0
"""How long a job waits for nodes: a cloud's machine with its packages takes some minutes."""


def named_cluster() -> str | None:
    """Return the address in RAY_ADDRESS; None for ``local`` and where it is unset or empty."""
    address = os.environ.get("RAY_ADDRESS", "")
    return None if address in ("", "local") else address


def require_answer(address: str, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
    """Check that a server of gRPC, such as Ray's, answers at the address of a cluster.

    Args:
        address: ``host:port``, also after ``ray://``; any other form is left to Ray.
        timeout_s: how long to wait.

    Raises:
        TrainingError: nothing answers, or something else than gRPC.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return
    wrong = f"RAY_ADDRESS must be the address of a Ray cluster that answers, found {address!r}"
    encrypted = os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout_s) as connection:
            begun = b"" if encrypted else _first_frame(connection, timeout_s)
    except (OSError, OverflowError) as error:
        raise TrainingError(f"{wrong}: {error}") from error
    if not encrypted and begun[3:4] != bytes((_SETTINGS,)):
        raise TrainingError(f"{wrong}: what listens there is no part of Ray")


def _first_frame(connection: socket.socket, timeout_s: float) -> bytes:
    """Return the head of the frame of HTTP/2 with which a server begins, less if it ends before."""
    connection.settimeout(timeout_s)
    connection.sendall(_PREFACE)
    head = b""
    while len(head) < 9 and (more := connection.recv(9 - len(head))):
        head += more
    return head


def start_ray(cpus_needed: int, log: Callable[[str], None] = lambda line: None) -> None:
    """Join a running cluster (RAY_ADDRESS, or one on this machine), or start Ray for this process.

    RAY_ADDRESS=local starts one whatever is running. A cluster with an autoscaler gets time to add
    the nodes that are missing.

    Raises:
        TrainingError: no cluster answers at RAY_ADDRESS, Ray does not start, or the cluster has
            fewer CPUs than the workers need.
    """
    import ray

    if not ray.is_initialized():
        address = named_cluster()
        if address is not None:
            require_answer(address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        logging.getLogger("ray.rllib").setLevel(logging.ERROR)
        try:
            ray.init(
                include_dashboard=None if address else False,
                logging_level="ERROR",
                log_to_driver=False,
                runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
            )
        except ConnectionError:
            raise  # names the address already
        except Exception as error:  # a node that does not come up raises no class of its own
            raise TrainingError(f"Ray did not start: {error}") from error
    found = make_room(cpus_needed, log)
    if cpus_needed > found:
        raise TrainingError(
            "training.num_env_runners, num_learners and validation.workers "
            f"need {cpus_needed} CPUs, the Ray cluster has {found:g}"
        )


def make_room(cpus_needed: int, log: Callable[[str], None] = lambda line: None) -> float:
    """Return how many CPUs the cluster has.

    Waits while it has too few and may grow, and while other jobs hold so many that too few are
    left: the workers could not start, and nothing would say why.
    """
    found = cluster_cpus()
    if cpus_needed > found and may_grow():
        log(f"waiting for {cpus_needed} CPUs: the Ray cluster has {found:g} and may grow")
        found = await_cpus(cpus_needed)
    if cpus_needed <= found:
        await_free_cpus(cpus_needed, log)
    return found


def require_gpus(per_learner: int, learners: int) -> None:
    """Check that learners have their GPUs; without learners of its own the driver needs them.

    Nodes that an autoscaler may add are not known yet: then nothing is refused.

    Raises:
        ConfigError: there are fewer.
    """
    if not per_learner:
        return
    import ray

    if learners:
        needed, where = per_learner * learners, "the Ray cluster"
        found = int(ray.cluster_resources().get("GPU", 0))
        if may_grow():
            return
    else:
        import torch

        needed, where, found = per_learner, "this machine", torch.cuda.device_count()
    if needed > found:
        raise ConfigError(f"training.learner_gpus: {where} must have {needed} GPUs, found {found}")


def cluster_cpus() -> float:
    """Return the CPUs of all nodes, busy or not."""
    import ray

    return float(ray.cluster_resources().get("CPU", 0))


def may_grow() -> bool:
    """Return whether the cluster's nodes were made by a launcher that can add some.

    ``ray up`` and KubeRay label every node with the group it belongs to, with or without an
    autoscaler; ``ray start`` and ``ray.init`` do not.
    """
    import ray

    return any(NODE_GROUP in node.get("Labels", {}) for node in ray.nodes() if node["Alive"])


def await_cpus(needed: int, timeout_s: float = GROWTH_TIMEOUT_S, poll_s: float = 0.5) -> float:
    """Ask the autoscaler for ``needed`` CPUs, wait for them and return how many there are then.

    What is asked for is a placement group: it is this job's own, and gone with it.
    """
    from ray.util import placement_group, remove_placement_group

    wanted = placement_group([{"CPU": 1.0}] * needed)
    deadline = time.monotonic() + timeout_s
    try:
        while (found := cluster_cpus()) < needed and time.monotonic() < deadline:
            time.sleep(poll_s)
    finally:
        remove_placement_group(wanted)
    return found


def await_free_cpus(
    needed: int, log: Callable[[str], None], poll_s: float = 1.0, every_s: float = 60.0
) -> None:
    """Wait until ``needed`` CPUs are free or no other job is left that could free some.

    Args:
        needed: CPUs.
        log: told what is waited for and who holds it, at first and every ``every_s``.
        poll_s: between two looks.
        every_s: between two lines.
    """
    import ray

    told = -math.inf
    while (free := float(ray.available_resources().get("CPU", 0))) < needed:
        others = other_jobs()
        if not others:
            return
        if time.monotonic() - told >= every_s:
            told = time.monotonic()
            log(f"waiting for {needed} CPUs: {free:g} are free, held by {'; '.join(others)}")
        time.sleep(poll_s)


def other_jobs() -> list[str]:
    """Return the command and the place of every other job that is connected to the cluster."""
    import ray
    from ray._private import state

    mine = ray.get_runtime_context().get_job_id()
    return [
        f"{job['Entrypoint']!r} (process {job['DriverPid']} on {job['DriverIPAddress']})"
        for job in state.state.job_table()
        if not job["IsDead"] and job["JobID"] != mine
    ]
