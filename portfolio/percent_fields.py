"""A form field for fractions that people write in percent."""

from __future__ import annotations

from typing import Any

from django import forms


class PercentField(forms.FloatField):
    """A fraction inside, percent outside; bounds are in percent."""

    def clean(self, value: Any) -> float | None:  # type: ignore[override]
        number = super().clean(value)
        return None if number is None else round(number / 100.0, 10)

    def prepare_value(self, value: Any) -> Any:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return round(value * 100.0, 8) if is_number else value
