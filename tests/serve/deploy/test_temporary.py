"""What services keep among temporary files: theirs alone, and gone after them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from rllib_tactical.errors import ServiceError
from serve.deploy.ray_serve import reserve_port
from serve.deploy.temporary import (
    ServiceFolder,
    claimed_port,
    port_claim,
    release_port,
    remove_abandoned,
)

OWNER = """
import sys
from pathlib import Path
from serve.deploy.temporary import ServiceFolder, claimed_port
kept = ServiceFolder(Path(sys.argv[1])), claimed_port(int(sys.argv[2]))
print(kept[0].path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder for temporary files that no other service uses."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_a_port_belongs_to_one_service_of_a_user(root: Path) -> None:
    port = reserve_port("127.0.0.1", 0)
    claim = claimed_port(port)
    with pytest.raises(ServiceError, match=f"port {port} is in use by another service"):
        claimed_port(port)
    release_port(claimed_port(port + 1))
    release_port(claim)
    release_port(claimed_port(port))
    assert list(root.iterdir()) == []


def test_a_claim_that_was_removed_meanwhile_counts_for_nothing(root: Path) -> None:
    first = claimed_port(20_000)
    waiting = port_claim(20_000).open("w")  # opened before the first gives it back
    release_port(first)
    second = claimed_port(20_000)
    with pytest.raises(ServiceError, match="in use"):
        claimed_port(20_000)
    waiting.close()
    release_port(second)


def test_what_a_killed_service_left_is_removed_by_the_next_start(root: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, root, "20001"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as killed:
        assert killed.stdout is not None
        left = Path(killed.stdout.readline().strip())
        (left / "telemetry").mkdir()
        own, unknown = ServiceFolder(root), root / "tac-unknown"
        unknown.mkdir()
        assert remove_abandoned(root) == 0  # both live
        killed.kill()
    assert left.is_dir() and port_claim(20_001).exists()
    assert remove_abandoned(root) == 2
    assert not left.exists() and not port_claim(20_001).exists()
    assert own.path.is_dir() and unknown.is_dir()
    own.remove()
    assert not own.path.exists()
