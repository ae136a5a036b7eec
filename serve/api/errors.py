"""What the service answers when a request cannot be served: one shape for every error."""

from __future__ import annotations

from typing import Final

from rllib_tactical.errors import ServiceError
from serve.api.responses import ErrorAnswer, ErrorPart

_LONGEST_ECHO: Final = 300


class RequestError(ServiceError):
    """A request that is refused, with its HTTP status, a stable code and the field to blame.

    Args:
        status: HTTP status, 400..499.
        code: short snake_case name that programs may rely on.
        message: what was required and what was found.
        field: path of the offending field, such as ``matrix_state[3][2]``; None when there is none.
    """

    def __init__(self, status: int, code: str, message: str, field: str | None = None) -> None:
        message = _echo(message)
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = None if field is None else _echo(field)

    def body(self) -> ErrorAnswer:
        """Return the answer that tells the client."""
        return error_body(self.code, self.message, self.field)


def error_body(code: str, message: str, field: str | None = None) -> ErrorAnswer:
    """Return the answer to anything that went wrong."""
    details = {} if field is None else {"field": field}
    return ErrorAnswer(ErrorPart(code, message, details))


def invalid(field: str, message: str, code: str = "invalid_field") -> RequestError:
    """Return the 422 for a field that can be read but must not be used."""
    return RequestError(422, code, f"{field}: {message}", field)


def exact(value: float) -> str:
    """Return a number as the request has to give it to be equal, whole ones without a point."""
    return repr(float(value)).removesuffix(".0")


def _echo(text: str) -> str:
    """Return text that may quote the request, short enough and safe to encode."""
    return text[:_LONGEST_ECHO].encode(errors="replace").decode()
