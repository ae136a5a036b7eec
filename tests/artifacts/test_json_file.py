from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from rllib_tactical.artifacts.json_file import parse_object, read_object, write_object
from rllib_tactical.errors import UnreadableError


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_object(path, {"b": [1.5, None, "é"], "a": {}})
    assert read_object(path) == {"b": [1.5, None, "é"], "a": {}}
    assert (
        path.read_text() == '{\n  "b": [\n    1.5,\n    null,\n    "\\u00e9"\n  ],\n  "a": {}\n}\n'
    )
    write_object(path, {"b": 1, "a": 2}, sort_keys=True)
    assert path.read_text() == '{\n  "a": 2,\n  "b": 1\n}\n'


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_json_lacks_leaves_the_file_as_it_was(tmp_path: Path, value: float) -> None:
    write_object(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_object(tmp_path / "a.json", {"a": value})
    assert read_object(tmp_path / "a.json") == {"a": 1}
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        ("[1]", "must hold an object, found list"),
        ("null", "must hold an object, found NoneType"),
    ],
)
def test_anything_but_an_object_is_refused(text: str | bytes, words: str) -> None:
    with pytest.raises(UnreadableError, match=f"here: {words}"):
        parse_object(text, "here")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(UnreadableError, match=f"{path}: cannot be read: {reason}"):
            read_object(path)
