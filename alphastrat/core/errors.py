"""Expected failures: they may be shown, and the caller can act on them. Anything else is a bug.

InvalidInput    correct the named fields and send again
NotEnoughData   bring more bars, or ask for less
ConflictError   the row moved on: fetch it again
RiskDenied      the order breaks a limit: the codes say which
ProviderError   the vendor failed: a job retries unless `permanent`
NotConverged    the solver found no answer: change the problem
"""

from __future__ import annotations


class AlphaStratError(Exception):
    """Base of every expected failure; `code` is stable, the message is for people."""

    code = "error"
    status = 400
    title = "The request could not be carried out"

    def __init__(self, message: str, *, fields: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.fields = fields or {}


class InvalidInput(AlphaStratError):
    """A value is wrong; `fields` names each with what to do."""

    code = "invalid_input"
    status = 422
    title = "Something in the input is wrong"


class NotEnoughData(AlphaStratError):
    """There are fewer bars or observations than the question needs."""

    code = "not_enough_data"
    status = 422
    title = "Not enough data"

    def __init__(
        self,
        message: str,
        *,
        needed: int,
        available: int,
        fields: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message, fields=fields)
        self.needed = needed
        self.available = available


class ConflictError(AlphaStratError):
    """The row changed state before the operation could claim it."""

    code = "conflict"
    status = 409
    title = "This has changed in the meantime"


class RiskDenied(AlphaStratError):
    """A risk limit forbids the order; `codes` are stable."""

    code = "risk_denied"
    status = 409
    title = "Denied by a risk limit"

    def __init__(self, message: str, *, codes: list[str]) -> None:
        super().__init__(message)
        self.codes = codes


class ProviderError(AlphaStratError):
    """A market data vendor failed; `permanent` means another try will not help."""

    code = "provider_error"
    status = 502
    title = "The market data provider failed"

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


class NotConverged(AlphaStratError):
    """A solver stopped without an answer."""

    code = "not_converged"
    status = 422
    title = "No solution was found"
