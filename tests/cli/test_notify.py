"""The command notify, as a process: it starts, takes a webhook and ends on a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import httpx
import pytest

from tests.serve.notify.test_receiver import webhook


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "rllib_tactical", "notify", *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_it_listens_and_ends() -> None:
    with start("--port", "0", TACTICAL_NOTIFY="json://127.0.0.1:9 json://127.0.0.1:10") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), line
        assert line.endswith("/alerts, 2 addresses\n")
        answer = httpx.post(line.split()[2].rstrip(","), json=webhook(), trust_env=False)
        assert answer.status_code == httpx.codes.BAD_GATEWAY  # nobody is there
        process.send_signal(signal.SIGTERM)
        assert process.wait(10.0) == 0


@pytest.mark.slow
def test_without_an_address_it_says_so() -> None:
    with start("--port", "0", TACTICAL_NOTIFY="") as process:
        said, _ = process.communicate(timeout=60.0)
    assert (process.returncode, said) == (
        1,
        "error: there must be an address to notify, found none\n",
    )
