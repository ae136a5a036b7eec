"""JSON files that hold one object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rllib_tactical.artifacts.atomic import atomic_write_text
from rllib_tactical.errors import UnreadableError


def parse_object(text: str | bytes, source: str) -> dict[str, Any]:
    """Return the object that a JSON text holds; ``source`` is what an error calls it.

    Raises:
        UnreadableError: the text is not valid JSON, or holds something else.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UnreadableError(f"{source}: not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise UnreadableError(f"{source}: must hold an object, found {type(values).__name__}")
    return values


def read_object(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        UnreadableError: the file cannot be read or holds something else.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read: {error.strerror or error}") from error
    return parse_object(text, str(path))


def write_object(path: Path, values: dict[str, Any], *, sort_keys: bool = False) -> None:
    """Write an object as indented JSON in one step.

    Raises:
        ValueError: a number is not finite, for which JSON has no notation.
        OSError: as of ``atomic_write_text``.
    """
    text = json.dumps(values, indent=2, sort_keys=sort_keys, allow_nan=False)
    atomic_write_text(path, text + "\n")
