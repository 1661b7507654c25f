"""Rules as a JSON document: taken along, and read back after a look at the difference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from alphastrat.core.errors import InvalidInput
from monitoring.models import ThresholdRule
from monitoring.services.rules import FIELDS, change_rule, create_rule
from portfolio.models import Portfolio
from strategies.models import Strategy

FORMAT = "alphastrat-threshold-rules"
MOST_RULES = 500
RELATED: dict[str, Any] = {"strategy": Strategy, "portfolio": Portfolio}


@dataclass(frozen=True, slots=True)
class ImportLine:
    """What one rule of a document would do: new, changed, same, or wrong."""

    name: str
    kind: str
    changes: tuple[str, ...]
    rule: ThresholdRule | None
    expected_version: int | None = None


def as_document(rules: Sequence[ThresholdRule]) -> dict[str, Any]:
    """Return rules as a document; strategies and portfolios go by name."""
    return {"format": FORMAT, "version": 1, "rules": [_as_row(rule) for rule in rules]}


def read_document(owner: Any, text: str) -> list[ImportLine]:
    """Return what a document would do to the rules of `owner`; nothing is stored.

    Raises InvalidInput where it cannot be read at all; a single wrong rule is a line of its own.
    """
    try:
        document = json.loads(text)
        rows = document["rules"]
        if document["format"] != FORMAT or not isinstance(rows, list):
            raise KeyError
    except (ValueError, KeyError, TypeError):
        wrong = "This is not a document of threshold rules."
        raise InvalidInput(wrong, fields={"document": wrong}) from None
    if len(rows) > MOST_RULES:
        wrong = f"At most {MOST_RULES} rules at once."
        raise InvalidInput(wrong, fields={"document": wrong})
    known = {rule.name: rule for rule in ThresholdRule.objects.filter(owner=owner)}
    subjects = {
        kind: {one.name: one for one in model.objects.filter(owner=owner)}
        for kind, model in RELATED.items()
    }
    return [_line(owner, row, known, subjects) for row in rows]


@transaction.atomic
def apply_lines(lines: Sequence[ImportLine]) -> int:
    """Store the new and changed rules of an import; return how many. Wrong lines refuse it all."""
    wrong = [line for line in lines if line.kind == "wrong"]
    if wrong:
        raise InvalidInput(f"“{wrong[0].name}” cannot be read: {wrong[0].changes[0]}")
    for line in lines:
        assert line.rule is not None
        if line.kind == "new":
            create_rule(line.rule)
        elif line.kind == "changed":
            values = {name: getattr(line.rule, name) for name in FIELDS}
            change_rule(line.rule.pk, values, expected_version=line.expected_version)
    return sum(line.kind in {"new", "changed"} for line in lines)


def _as_row(rule: ThresholdRule) -> dict[str, Any]:
    row = {name: getattr(rule, name) for name in FIELDS if name not in RELATED}
    return row | {kind: getattr(getattr(rule, kind), "name", None) for kind in RELATED}


def _line(
    owner: Any,
    row: Any,
    known: dict[str, ThresholdRule],
    subjects: dict[str, dict[str, Any]],
) -> ImportLine:
    name = str(row.get("name", "?")) if isinstance(row, dict) else "?"
    before = known.get(name)
    try:
        rule = _read(owner, row, before, subjects)
    except InvalidInput as error:
        return ImportLine(name, "wrong", (str(error),), None)
    except ValidationError as error:
        return ImportLine(name, "wrong", tuple(_words(error)), None)
    if before is None:
        return ImportLine(name, "new", (), rule)
    old, new = _as_row(before), _as_row(rule)
    changes = tuple(f"{key}: {old[key]} → {new[key]}" for key in old if old[key] != new[key])
    kind = "changed" if changes else "same"
    return ImportLine(name, kind, changes, rule, before.version)


def _read(
    owner: Any, row: Any, before: ThresholdRule | None, subjects: dict[str, dict[str, Any]]
) -> ThresholdRule:
    if not isinstance(row, dict):
        raise InvalidInput("A rule is an object.")
    unknown = set(row) - set(FIELDS)
    if unknown:
        raise InvalidInput(f"Unknown field {sorted(unknown)[0]}.")
    values = dict(row)
    for kind, by_name in subjects.items():
        wanted = values.get(kind)
        if wanted is not None and wanted not in by_name:
            raise InvalidInput(f"There is no {kind} named {wanted}.")
        values[kind] = None if wanted is None else by_name[wanted]
    rule = ThresholdRule(owner=owner, **values)
    if before is not None:
        rule.pk, rule.version, rule.template = before.pk, before.version, before.template
        rule._state.adding = False
    rule.full_clean()
    return rule


def _words(error: ValidationError) -> list[str]:
    if not hasattr(error, "error_dict"):
        return list(error.messages)
    return [f"{name}: {texts[0]}" for name, texts in error.message_dict.items()]
