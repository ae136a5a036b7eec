from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.interpret.layouts import write_lines
from tests.data.interpret.plain_files import HEAD, lines_of


@pytest.fixture
def bars_csv(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "bars.csv", [HEAD, *lines_of()])
