"""What the path of a Lean file says of it: its day, and how its prices are scaled."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rllib_tactical.errors import UsageError

_NAME: Final = re.compile(r"(\d{8})_(?:\w+_(?:minute|second)_)?(trade|quote)", re.IGNORECASE)
_UNSCALED: Final = {"crypto", "cryptofuture", "forex", "cfd", "future", "index"}
_SCALED: Final = {"equity", "option"}


def is_lean_name(path: Path) -> bool:
    """Return whether a file is named as Lean names those of bars."""
    return _NAME.match(path.name) is not None


def lean_day(path: Path) -> int:
    """Return the day of a file, its midnight in microseconds since 1970 as if it were UTC.

    Raises:
        UsageError: the name does not begin with a day, or is that of quotes.
    """
    match = _NAME.match(path.name)
    if match is None:
        raise UsageError(
            f"--format lean: times count from midnight, and {path.name} does not begin with its "
            "day, such as 20241021_trade.zip"
        )
    if match[2].lower() == "quote":
        raise UsageError(f"--format lean: {path.name} holds quotes, expected trades")
    day = datetime.strptime(match[1], "%Y%m%d").replace(tzinfo=UTC)
    return int(day.timestamp()) * 1_000_000


def lean_scale(path: Path) -> float:
    """Return what prices are multiplied with: 0.0001 for equities and options, else 1.

    Raises:
        UsageError: no folder of the path names a kind of security.
    """
    kinds = {part.lower() for part in path.absolute().parts}
    if kinds & _SCALED:
        return 1e-4
    if kinds & _UNSCALED:
        return 1.0
    raise UsageError(
        f"--format lean: the folders of {path.name} do not tell the kind of security: give "
        "--price-scale 0.0001 for equities and options, else --price-scale 1"
    )
