"""Every error of the API in one shape: application/problem+json (RFC 9457)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as ModelValidationError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, Throttled, ValidationError

from alphastrat.core.errors import AlphaStratError
from alphastrat.core.jsonable import jsonable

logger = logging.getLogger(__name__)

# Each handler takes the one class it is registered for.
Handler = Callable[[HttpRequest, Any], HttpResponse]

MEDIA_TYPE = "application/problem+json"
API_PREFIX = "/api/"
CODES = {
    400: "bad_request",
    401: "not_authenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    422: "invalid_input",
    429: "too_many_requests",
    500: "unexpected",
    503: "unavailable",
}
DETAILS = {
    400: "The request cannot be read.",
    401: "Sign in, or send a token: Authorization: Bearer <token>.",
    403: "You may not do this.",
    404: "There is nothing here that you may see.",
    405: "This address does not answer that method.",
    500: "An unexpected error; the log has the details under this request id.",
}


def problem(
    request: HttpRequest,
    status: int,
    *,
    detail: str = "",
    code: str = "",
    title: str = "",
    fields: dict[str, str] | None = None,
    **extra: Any,
) -> HttpResponse:
    """Return the problem response; `fields` names each wrong value with what to do."""
    code = code or CODES.get(status, "error")
    body = {
        "type": f"urn:alphastrat:problem:{code}",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail or DETAILS.get(status, HTTPStatus(status).description),
        "instance": request.path,
        "code": code,
        "fields": fields or {},
        "request_id": getattr(request, "id", None),
        **extra,
    }
    response = HttpResponse(json.dumps(jsonable(body)), status=status, content_type=MEDIA_TYPE)
    if status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Bearer realm="AlphaStrat"'
    return response


def install_problem_handlers(api: NinjaAPI) -> None:
    """Let `api` answer every exception with a problem."""
    handlers: dict[type[Exception], Handler] = {
        AlphaStratError: _expected,
        ValidationError: _unreadable_input,
        ModelValidationError: _invalid_model,
        Throttled: _throttled,
        AuthenticationError: _not_authenticated,
        HttpError: _http_error,
        Http404: _not_found,
        PermissionDenied: _forbidden,
        Exception: _unexpected,
    }
    for error_class, handler in handlers.items():
        api.add_exception_handler(error_class, handler)


class ProblemMiddleware:
    """Give the API's shape to errors that arise before or beside its operations.

    An unknown address, a refused method, a body that is too large: Django answers these with
    pages of HTML, which a program cannot read.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(API_PREFIX):
            return self.get_response(request)
        if "\0" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
            return problem(request, 400, detail="A NUL character is not part of any value here.")
        response = self.get_response(request)
        media_type = response.get("Content-Type", "")
        if response.status_code < HTTPStatus.BAD_REQUEST or "json" in media_type:
            return response
        # The headers stay: other layers have already added theirs.
        response.content = problem(request, response.status_code).content
        response["Content-Type"] = MEDIA_TYPE
        response["Content-Length"] = str(len(response.content))
        return response


def _expected(request: HttpRequest, error: AlphaStratError) -> HttpResponse:
    logger.info("request refused", extra={"code": error.code})
    extra = {name: value for name, value in vars(error).items() if name != "fields"}
    return problem(
        request,
        error.status,
        detail=str(error),
        code=error.code,
        title=error.title,
        fields=error.fields,
        **extra,
    )


def _unreadable_input(request: HttpRequest, error: ValidationError) -> HttpResponse:
    fields = {_field_name(item["loc"]): str(item["msg"]) for item in error.errors}
    detail = "; ".join(f"{name}: {message}" for name, message in fields.items())
    return problem(request, 422, detail=detail, fields=fields)


def _field_name(location: tuple[Any, ...]) -> str:
    """Drop where the value was sent (body, query) and the name of the parameter holding it."""
    parts = [str(part) for part in location]
    n_leading = 2 if len(parts) > 2 and parts[0] in {"body", "form"} else 1
    return ".".join(parts[n_leading:]) or parts[-1]


def _invalid_model(request: HttpRequest, error: ModelValidationError) -> HttpResponse:
    by_field = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
    fields = {name: " ".join(messages) for name, messages in by_field.items()}
    return problem(request, 422, detail=" ".join(error.messages), fields=fields)


def _throttled(request: HttpRequest, error: Throttled) -> HttpResponse:
    wait = int(error.wait or 1)
    response = problem(
        request, 429, detail=f"Too many requests; try again in {wait} s.", retry_after=wait
    )
    response["Retry-After"] = str(wait)
    return response


def _not_authenticated(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    detail = "" if error.message == "Unauthorized" else error.message
    return problem(request, 401, detail=detail)


def _http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    return problem(request, error.status_code, detail=error.message)


def _not_found(request: HttpRequest, error: Http404) -> HttpResponse:
    return problem(request, 404)


def _forbidden(request: HttpRequest, error: PermissionDenied) -> HttpResponse:
    return problem(request, 403, detail=str(error))


def _unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    logger.error("request failed", exc_info=error, extra={"path": request.path})
    return problem(request, 500)
