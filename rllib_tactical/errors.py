"""The one exception tree of the project.

A message states what was required and what was found. ``exit_code`` is what the command line
returns for the error: 1 for refused input or findings, 2 for usage errors and unreadable input.
"""

from __future__ import annotations


class TacticalError(Exception):
    """Base of every error that a user can cause or act upon."""

    exit_code = 1


class UsageError(TacticalError):
    """The call itself is wrong: an option, an argument, a combination of both."""

    exit_code = 2


class ConfigError(TacticalError):
    """A configuration value or key breaks a rule; the message names the key."""

    exit_code = 2


class UnreadableError(TacticalError):
    """An input file or folder does not exist, cannot be opened or is not of the expected format."""

    exit_code = 2


class DataError(TacticalError):
    """Market data that can be read but breaks a rule of a bar file."""


class ArrayError(TacticalError):
    """An array handed to a function has the wrong rank, shape or dtype, or holds a wrong value."""


class FeatureError(TacticalError):
    """Arrays handed to the feature code have the wrong shape, dtype or content."""


class OrderError(TacticalError):
    """A price, ATR or quantity from which no order can be made."""


class BundleError(TacticalError):
    """A policy bundle is incomplete, altered or made for other features or rules."""


class TrainingError(TacticalError):
    """Training cannot start or continue."""


class ServiceError(TacticalError):
    """The decision service could not be started, reached or used."""


def require(
    condition: bool, rule: str, found: object, error: type[TacticalError] = ConfigError
) -> None:
    """Refuse a value that breaks a rule.

    Args:
        condition: whether the rule is kept.
        rule: what is required, beginning with the value's name.
        found: the value.
        error: what to raise.

    Raises:
        TacticalError: the rule is broken; of the class ``error``.
    """
    if not condition:
        raise error(f"{rule}, found {found!r}")
