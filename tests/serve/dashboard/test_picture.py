"""A picture of a page, and what happens where none can be taken."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from serve.dashboard.picture import BROWSERS, SIZE, find_browser, take_picture


def program(folder: Path, name: str, text: str) -> str:
    """Return the path of a shell script that can be run."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_the_browser_is_the_first_known_one_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_browser() is None
    program(tmp_path, "firefox", "exit 0")
    assert find_browser() is None
    last = program(tmp_path, BROWSERS[-1], "exit 0")
    assert find_browser() == last
    first = program(tmp_path, BROWSERS[0], "exit 0")
    assert find_browser() == first


def test_there_is_no_picture_from_a_browser_that_is_missing_or_fails(tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    assert not take_picture("about:blank", path, str(tmp_path / "nowhere"))
    assert not take_picture("about:blank", path, program(tmp_path, "broken", "exit 1"))
    assert not path.exists()


@pytest.mark.slow
def test_a_page_becomes_a_png_file_of_the_size(tmp_path: Path) -> None:
    browser = find_browser()
    if browser is None:
        pytest.skip(f"no browser here: none of {', '.join(BROWSERS)} is on the path")
    page, path = tmp_path / "page.html", tmp_path / "page.png"
    page.write_text("<!doctype html><title>page</title><p>Hello")
    assert take_picture(page.as_uri(), path, browser)
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", data[16:24]) == SIZE
