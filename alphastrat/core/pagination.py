"""Pages of the API: `?page=` and `?page_size=`, at most 1,000 rows each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, get_type_hints

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Field, Schema
from ninja.pagination import PaginationBase, paginate

PAGE_SIZE = 100
MAX_PAGE_SIZE = 1_000
MAX_PAGE = 1_000_000


class Pages(PaginationBase):
    """Cut a QuerySet or a list into pages; see `paged`."""

    class Input(Schema):
        page: int = Field(1, ge=1, le=MAX_PAGE)
        page_size: int = Field(PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE)

    class Output(Schema):
        items: list[Any]
        count: int
        page: int
        pages: int

    def paginate_queryset(
        self,
        queryset: QuerySet[Any] | list[Any],
        pagination: Input,
        request: HttpRequest,
        **params: Any,
    ) -> dict[str, Any]:
        start = (pagination.page - 1) * pagination.page_size
        count = self._items_count(queryset)  # type: ignore[arg-type]
        return {
            "items": queryset[start : start + pagination.page_size],
            "count": count,
            "page": pagination.page,
            "pages": math.ceil(count / pagination.page_size),
        }


def paged(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Cut what `operation` returns into pages; stands between the route and the function."""
    # The wrapper lives in another module, where postponed annotations mean nothing.
    operation.__annotations__ = get_type_hints(operation, include_extras=True)
    return paginate(Pages)(operation)
