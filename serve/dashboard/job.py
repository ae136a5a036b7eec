"""The process that answers one question about the past; see ``serve.dashboard.past``."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

import msgspec

from rllib_tactical.errors import DataError, TacticalError
from serve.api.errors import RequestError
from serve.dashboard.days import day_of
from serve.dashboard.past import REFUSED, Question
from serve.dashboard.why import why_of

NICENESS: Final = 10
"""Decisions come first on a busy machine."""


def answer(question: Question) -> Any:
    """Return the answer to a question.

    Raises:
        RequestError: 404 for a decision that the journal does not have, 422 for what is no date.
        TacticalError: state or journal cannot be read.
    """
    if question.decision_id is None:
        return day_of(question.state, question.symbol, question.day)
    try:
        return why_of(question.state, question.decision_id)
    except DataError as error:
        raise RequestError(404, "not_explained", str(error)) from error


def main() -> int:
    """Read the question from standard input and write the answer; return the exit code."""
    os.nice(NICENESS)
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
    try:
        found, code = answer(question), 0
    except RequestError as error:
        found, code = (error.status, error.code, error.message), REFUSED
    except TacticalError as error:
        found, code = (503, "state_unavailable", str(error)), REFUSED
    sys.stdout.buffer.write(msgspec.json.encode(found))
    return code


if __name__ == "__main__":
    sys.exit(main())
