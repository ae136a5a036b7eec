"""The exception tree: exit codes, and the one way to refuse a value."""

from __future__ import annotations

import pytest

from rllib_tactical import errors
from rllib_tactical.errors import ConfigError, DataError, TacticalError, require


def test_the_command_line_tells_a_wrong_call_from_a_refused_input() -> None:
    codes = {
        name: kind.exit_code
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, TacticalError)
    }
    wrong_calls = {name for name, code in codes.items() if code == 2}
    assert wrong_calls == {"UsageError", "ConfigError", "UnreadableError"}
    assert set(codes.values()) == {1, 2}


def test_a_rule_that_is_kept_says_nothing() -> None:
    require(True, "risk.max_leverage must be > 0", 5.0)


def test_a_broken_rule_says_what_was_found() -> None:
    with pytest.raises(ConfigError, match=r"^risk\.max_leverage must be > 0, found -1\.0$"):
        require(False, "risk.max_leverage must be > 0", -1.0)
    with pytest.raises(DataError, match=r"^symbol must not be empty, found ''$"):
        require(False, "symbol must not be empty", "", DataError)
