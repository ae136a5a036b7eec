"""A real service one of whose processes is killed that nothing replaces: all of it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from rllib_tactical.bench.service_process import COMMAND, ServiceProcess, served
from rllib_tactical.bundle.bundle import Bundle
from tests.ports import ports_of_serve

pytestmark = [pytest.mark.serve, pytest.mark.ray, pytest.mark.slow]

ENDS_S = 5.0


@pytest.fixture(autouse=True, scope="module")
def ports() -> Iterator[None]:
    """Wait for other real services to end."""
    with ports_of_serve():
        yield


def ends(service: ServiceProcess, within_s: float = ENDS_S) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if service.ended():
            return True
        time.sleep(0.05)
    return service.ended()


@pytest.mark.parametrize("kind", ["raylet", "gcs_server", COMMAND])
def test_everything_ends_with_what_nothing_replaces(
    kind: str, bundle: Bundle, tmp_path: Path
) -> None:
    arguments = ("--bundle", bundle.path, "--port", "0", "--state", tmp_path / "state")
    with served(arguments) as service:
        assert httpx.get(f"{service.url}/ready", trust_env=False).status_code == 200
        service.processes(kind)[0].kill()
        assert ends(service), service.processes()
        if kind != COMMAND:
            assert service.process.wait(5.0) == 1  # a supervisor starts it again


def test_on_a_cluster_that_goes_on_a_service_ends_with_its_command(
    bundle: Bundle, tmp_path: Path
) -> None:
    import ray

    from serve.deploy.ray_serve import connect_ray

    assert connect_ray()
    try:
        there = {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
        arguments = ("--bundle", bundle.path, "--port", "0", "--state", tmp_path / "state")
        for _ in range(3):  # one that starts at once waits for the one before it
            with served(arguments, there) as service:
                assert httpx.get(f"{service.url}/ready", trust_env=False).status_code == 200
                service.processes(COMMAND)[0].kill()
                assert ends(service)
                with pytest.raises(httpx.ConnectError):
                    httpx.get(f"{service.url}/ready", trust_env=False)
        assert ray.is_initialized()
    finally:
        ray.shutdown()
