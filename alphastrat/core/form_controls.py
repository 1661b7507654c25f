"""A bound form field as what the form_field component prints."""

from __future__ import annotations

from typing import Any

from django.forms import BoundField


def describe(field: BoundField, *, unit: str, validate: str, hide_label: bool) -> dict[str, Any]:
    """Return the control with its access attributes, and what stands around it."""
    attributes = _attributes(field, validate)
    kind = getattr(field.field.widget, "input_type", field.field.widget.__class__.__name__.lower())
    has_choices = hasattr(field.field.widget, "choices")
    return {
        "field": field,
        "control": field.as_widget(attrs=attributes),
        "unit": unit,
        "is_choice": kind == "checkbox" and not has_choices,
        "is_group": kind in {"radio", "checkbox"} and has_choices,
        "hide_label": hide_label,
    }


def _attributes(field: BoundField, validate: str) -> dict[str, Any]:
    own = field.field.widget.attrs
    attributes: dict[str, Any] = {**own, "class": f"control {own.get('class', '')}".strip()}
    described = {"error": field.errors, "help": field.help_text}
    if names := [f"{field.auto_id}-{part}" for part, shown in described.items() if shown]:
        attributes["aria-describedby"] = " ".join(names)
    if field.errors:
        attributes["aria-invalid"] = "true"
    if validate:
        attributes |= {"hx-post": validate, "hx-trigger": "change delay:300ms"}
        attributes |= {"hx-target": "closest .field", "hx-swap": "outerMorph"}
    return attributes
