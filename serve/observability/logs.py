"""Structured logs: one JSON object per line, in a file per process.

Every line has ``time`` (UTC), ``level``, ``event`` and ``process``, and the fields of its event,
such as ``decision_id``.
"""

from __future__ import annotations

import logging
import os
import traceback
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final

import msgspec

from rllib_tactical.errors import ServiceError

LEVEL_VARIABLE: Final = "LOG_LEVEL"
MAX_BYTES: Final = 32 * 1024 * 1024
KEPT_FILES: Final = 3
_ENCODE: Final = msgspec.json.Encoder(enc_hook=str).encode
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object; ``extra={"fields": {...}}`` adds to it."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "event": record.getMessage(),
            "process": self._process,
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            # formatException prints, and the print that Serve puts in its place writes tuples
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return _ENCODE(line).decode(errors="replace")


class SizedFileHandler(RotatingFileHandler):
    """Starts a new file once the old one is full.

    The standard library's looks whether the next line still fits, for which it formats each line
    twice and asks the system four times: a tenth of what a decision costs.
    """

    def shouldRollover(self, record: logging.LogRecord) -> int:
        """Return whether the file has reached its size."""
        if self.stream is None:  # opened when the first line comes
            return False
        return os.fstat(self.stream.fileno()).st_size >= self.maxBytes


def log_level(environment: dict[str, str] | None = None) -> str:
    """Return the level that ``LOG_LEVEL`` names, INFO without it.

    Raises:
        ServiceError: it names no level.
    """
    found = (os.environ if environment is None else environment).get(LEVEL_VARIABLE) or "INFO"
    if found.upper() not in _LEVELS:
        raise ServiceError(f"{LEVEL_VARIABLE} must be one of {', '.join(_LEVELS)}, found {found!r}")
    return found.upper()


def log_to_folder(folder: Path, process: str, level: str = "INFO") -> logging.Handler:
    """Send what the service logs to ``folder``/``process``.jsonl, old files rotated away.

    Returns:
        The handler, for whoever wants to remove it again.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = SizedFileHandler(
        folder / f"{process}.jsonl", maxBytes=MAX_BYTES, backupCount=KEPT_FILES, encoding="utf-8"
    )
    handler.setFormatter(JsonFormatter(process))
    logger = logging.getLogger("serve")
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    return handler
