"""The API's own rules: what it reads, what it writes, how its description is served."""

from __future__ import annotations

import json
import math
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.openapi.docs import Swagger
from ninja.parser import Parser
from ninja.renderers import BaseRenderer

from alphastrat.core.etags import with_entity_tag
from alphastrat.core.jsonable import jsonable
from alphastrat.core.problems import MEDIA_TYPE, install_problem_handlers
from alphastrat.core.schemas import Problem


class StrictParser(Parser):
    """Reads JSON as its standard says: no NaN, no infinities, and no NUL, which SQL refuses."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        if b"\\u0000" in request.body:
            raise ValueError("a NUL character is not part of any value here")
        return json.loads(request.body, parse_constant=_refuse, parse_float=_finite)


class JsonableRenderer(BaseRenderer):
    """Writes undefined numbers as null: NaN is not JSON."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> str:
        return json.dumps(jsonable(data), allow_nan=False, separators=(",", ":"))


class LocalSwagger(Swagger):
    """The interactive description, from our own origin and without inline code."""

    template = "accounts/api_docs.html"
    # Swagger would send the description's address to a validator on the web.
    default_settings = {**Swagger.default_settings, "validatorUrl": None}


class ProductApi(NinjaAPI):
    """NinjaAPI with our renderer, parser, error shape, entity tags and Location of new work."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            renderer=JsonableRenderer(), parser=StrictParser(), docs=LocalSwagger(), **options
        )
        install_problem_handlers(self)

    def create_response(
        self,
        request: HttpRequest,
        data: Any,
        *,
        status: int | None = None,
        temporal_response: HttpResponse | None = None,
    ) -> HttpResponse:
        response = super().create_response(
            request, data, status=status, temporal_response=temporal_response
        )
        if response.status_code == 202 and isinstance(data, dict) and data.get("url"):
            response["Location"] = data["url"]
        return with_entity_tag(request, response)

    def get_openapi_schema(self, **options: Any) -> Any:
        """Describe the problem answers once for every operation."""
        schema = super().get_openapi_schema(**options)
        refusal = {
            "description": "The request was not carried out (RFC 9457).",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        schema["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        for path in schema["paths"].values():
            for operation in path.values():
                answers = operation["responses"]
                answers.setdefault("default", refusal)
                for code, answer in answers.items():
                    # An operation's own refusal stands beside that of the parser.
                    if str(code).startswith("4"):
                        answer.setdefault("content", {}).update(refusal["content"])
        return schema


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large")
    return number
