"""Strategies through their life: created, changed into new versions, moved between states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from auditlog.models import LogEntry
from django.db import IntegrityError, transaction

from alphastrat.core import events, live
from alphastrat.core.errors import ConflictError, InvalidInput
from alphastrat.core.jsonable import jsonable
from alphastrat.quant.types import Timeframe
from strategies.models import Strategy, StrategyVersion
from strategies.quant import registry
from strategies.services.configuration import (
    check_exits,
    check_parameters,
    check_sizing,
    check_universe,
    complete_exits,
    complete_sizing,
)
from strategies.services.specification import (
    Specification,
    collecting,
    find_instruments,
    sentence,
)

COMPARED = ("plugin", "parameters", "symbols", "timeframe", "exit_rules", "sizing")


Gate = Callable[[Strategy, str, str], None]
_gates: list[Gate] = []


def add_gate(gate: Gate) -> None:
    """Let an upper app refuse steps of the lifecycle.

    A gate takes strategy, new state and the reason given for overruling it, which may be empty;
    it raises ConflictError to refuse.
    """
    if gate not in _gates:
        _gates.append(gate)


@dataclass(frozen=True, slots=True)
class StrategyDraft:
    """What a strategy is to be, unchecked."""

    name: str
    plugin: str
    symbols: list[str]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    timeframe: str = Timeframe.DAY_1.value
    exit_rules: Mapping[str, Any] = field(default_factory=dict)
    sizing: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""


@transaction.atomic
def create_strategy(owner: Any, draft: StrategyDraft, *, reason: str = "Created") -> Strategy:
    """Create a strategy in research with its first version.

    Raises InvalidInput naming each field that is wrong.
    """
    checked, instruments = check_draft(draft)
    try:
        with transaction.atomic():
            strategy = Strategy.objects.create(
                owner=owner,
                name=draft.name,
                description=draft.description,
                plugin=checked["plugin"],
                parameters=checked["parameters"],
                timeframe=checked["timeframe"],
            )
    except IntegrityError:
        raise InvalidInput(
            f"You already have a strategy called {draft.name!r}.",
            fields={"name": "Choose another name."},
        ) from None
    strategy.universe.set(instruments)
    _add_version(strategy, checked, number=1, by=owner, reason=reason)
    events.send_on_commit(events.strategy_changed, strategy_id=str(strategy.pk))
    return strategy


@transaction.atomic
def change_strategy(
    strategy: Strategy, draft: StrategyDraft, *, by: Any, reason: str, expected_version: int
) -> StrategyVersion:
    """Give a strategy a new version; an unchanged one keeps its version.

    Raises InvalidInput naming each field that is wrong, ConflictError if another version has
    been made since `expected_version`.
    """
    checked, instruments = check_draft(draft)
    strategy = Strategy.objects.select_for_update().get(pk=strategy.pk)
    current = strategy.current_version
    if current is None or current.number != expected_version:
        raise ConflictError(
            f"Version {current.number if current else 0} has been made since you opened version "
            f"{expected_version}; look at it before you change it."
        )
    if strategy.name != draft.name:
        taken = Strategy.objects.filter(owner=strategy.owner_id, name=draft.name)
        if taken.exclude(pk=strategy.pk).exists():
            raise InvalidInput(
                f"There is already a strategy called {draft.name!r}.",
                fields={"name": "Choose another name."},
            )
    strategy.name, strategy.description = draft.name, draft.description
    if all(_comparable(getattr(current, name)) == _comparable(checked[name]) for name in COMPARED):
        strategy.save(update_fields=["name", "description", "updated_at"])
        return current
    strategy.plugin, strategy.parameters = checked["plugin"], checked["parameters"]
    strategy.timeframe = checked["timeframe"]
    strategy.save()
    strategy.universe.set(instruments)
    version = _add_version(strategy, checked, number=current.number + 1, by=by, reason=reason)
    _announce(strategy)
    return version


@transaction.atomic
def move_strategy(strategy: Strategy, state: str, *, at: datetime, reason: str = "") -> None:
    """Move a strategy along its lifecycle; raises ConflictError where there is no such step.

    A step that a gate refuses is taken all the same where a reason is given.
    """
    for gate in _gates:
        gate(strategy, state, reason)
    before = strategy.state
    strategy.move_to(state, at=at)
    # The claim is an UPDATE, which the audit log does not see by itself.
    LogEntry.objects.log_create(
        strategy,
        force_log=True,
        action=LogEntry.Action.UPDATE,
        changes={"state": [before, state]},
    )
    _announce(strategy)


def version_of(strategy: Strategy, number: int | None = None) -> StrategyVersion:
    """Return a version of a strategy, the current one where no number is given.

    Raises InvalidInput where there is none of that number, ConflictError where there is none yet.
    """
    current = strategy.current_version
    if current is None:
        raise ConflictError("This strategy has no version yet.")
    if number is None or number == current.number:
        return current
    found = strategy.versions.filter(number=number).first()
    if found is None:
        reason = f"There is no version {number}; the current one is {current.number}."
        raise InvalidInput(reason, fields={"version": reason})
    return found


def matching_version(strategy: Strategy, asked: Specification) -> StrategyVersion | None:
    """Return the newest version of which a backtest asks for exactly the content, else None."""
    wanted = [_comparable(getattr(asked, name)) for name in COMPARED]
    return next(
        (
            version
            for version in strategy.versions.order_by("-number")
            if [_comparable(getattr(version, name)) for name in COMPARED] == wanted
        ),
        None,
    )


def check_draft(draft: StrategyDraft) -> tuple[dict[str, Any], list[Any]]:
    """Return the checked content of a version and its instruments.

    Raises InvalidInput naming each field that is wrong.
    """
    problems: dict[str, str] = {}
    instruments: list[Any] = []
    parameters: Mapping[str, Any] = {}
    if not draft.name.strip():
        problems["name"] = "Give it a name."
    if draft.timeframe not in list(Timeframe):
        problems["timeframe"] = f"Choose one of {', '.join(Timeframe)}."
    with collecting(problems):
        instruments = find_instruments(draft.symbols)
    with collecting(problems):
        parameters = check_parameters(draft.plugin, draft.parameters)
    if instruments and parameters:
        with collecting(problems):
            check_universe(registry.build(draft.plugin, parameters), len(instruments))
    with collecting(problems):
        check_exits(draft.exit_rules)
    with collecting(problems):
        check_sizing(draft.sizing, n_symbols=max(1, len(instruments)))
    if problems:
        raise InvalidInput(sentence(problems), fields=problems)
    return {
        "plugin": draft.plugin,
        "parameters": jsonable(parameters),
        "symbols": [instrument.symbol for instrument in instruments],
        "timeframe": draft.timeframe,
        "exit_rules": complete_exits(draft.exit_rules),
        "sizing": complete_sizing(draft.sizing),
    }, instruments


def _add_version(
    strategy: Strategy, checked: dict[str, Any], *, number: int, by: Any, reason: str
) -> StrategyVersion:
    version = StrategyVersion.objects.create(
        strategy=strategy, number=number, created_by=by, reason=reason, **checked
    )
    Strategy.objects.filter(pk=strategy.pk).update(current_version=version)
    strategy.current_version = version
    return version


def _announce(strategy: Strategy) -> None:
    live.publish(f"strategy:{strategy.pk}", "invalidate", {"fragment": "strategy"})
    events.send_on_commit(events.strategy_changed, strategy_id=str(strategy.pk))


def _comparable(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return sorted(value)
    if isinstance(value, Mapping):
        return {name: item for name, item in jsonable(value).items() if item is not None}
    return value
