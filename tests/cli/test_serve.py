from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from rllib_tactical.cli.serve import serve_command
from rllib_tactical.errors import UnreadableError


def test_the_command_explains_itself_and_needs_a_bundle() -> None:
    done = CliRunner().invoke(serve_command, ["--help"])
    assert done.exit_code == 0
    assert "--bundle DIR" in done.output
    assert CliRunner().invoke(serve_command, []).exit_code == 2


def test_the_command_raises_errors_for_the_command_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(serve_command, ["--bundle", str(tmp_path)])
    assert isinstance(done.exception, UnreadableError)
