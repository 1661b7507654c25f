"""Forms of portfolios and of the optimiser; percent for people, fractions inside."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time
from typing import Any
from uuid import UUID

from django import forms
from django.http import QueryDict

from alphastrat.core.errors import AlphaStratError, InvalidInput
from portfolio.models import Portfolio, PortfolioMember
from portfolio.percent_fields import PercentField
from portfolio.quant.allocation_problem import LABELS, Method
from portfolio.quant.estimators import Estimator
from portfolio.quant.expected_returns import ReturnModel
from portfolio.services.allocation_options import DEFAULTS, NAMES, AllocationOptions, options_of
from portfolio.services.portfolios import MemberDraft, PortfolioDraft
from portfolio.services.strategy_groups import groups_of_members
from strategies.models import Strategy

N_VIEWS = 3
TARGETS = {Method.TARGET_RETURN.value, Method.TARGET_VOLATILITY.value}


class OptimiseForm(forms.Form):
    """A method, its estimates and its limits."""

    method = forms.ChoiceField(label="Method", choices=list(LABELS.items()))
    target = PercentField(
        label="Target a year", required=False, help_text="For the two methods with a target."
    )
    return_model = forms.ChoiceField(
        label="Expected returns", choices=[(one.value, one.label) for one in ReturnModel]
    )
    estimator = forms.ChoiceField(
        label="Covariances", choices=[(one.value, one.label) for one in Estimator]
    )
    source = forms.ChoiceField(
        label="Returns",
        choices=[
            ("live", "Live where there are 30 days, backtest otherwise"),
            ("backtest", "Backtest only"),
        ],
    )
    window_days = forms.IntegerField(label="History", required=False, help_text="Empty for all.")
    max_weight = PercentField(label="Largest weight of one strategy")
    min_weight = PercentField(
        label="Smallest weight", help_text="Of a strategy that is included; others get nothing."
    )
    cash = PercentField(label="Cash buffer")
    max_strategies = forms.IntegerField(label="Most strategies", required=False)
    max_turnover = PercentField(
        label="Largest turnover", required=False, help_text="Sum of all changes of weights."
    )
    max_correlated = PercentField(
        label="Correlated strategies together", help_text="Largest weight of such a group."
    )
    correlated_above = forms.FloatField(
        label="Correlated means above", widget=forms.NumberInput(attrs={"step": "any"})
    )
    risk_free = PercentField(label="Risk-free rate a year")
    confidence = PercentField(label="Confidence of the CVaR")
    cost_bps = forms.FloatField(
        label="Cost of a change of weight", widget=forms.NumberInput(attrs={"step": "any"})
    )

    def __init__(
        self,
        data: QueryDict | None = None,
        *,
        members: list[PortfolioMember],
        options: AllocationOptions = DEFAULTS,
    ) -> None:
        self.members = members
        self.groups = _groups(members)
        super().__init__(data, initial=options.as_json())
        for i, group in enumerate(self.groups):
            self.fields[f"group__{i}"] = PercentField(
                label=f"{group} together",
                required=False,
                initial=options.group_limits.get(group),
                help_text="Empty for no limit.",
            )
        self._add_budgets(options)
        self._add_views(options)

    @property
    def chosen_method(self) -> str:
        """Return the method that the form shows."""
        return str(self["method"].value() or DEFAULTS.method)

    @property
    def group_fields(self) -> Iterator[forms.BoundField]:
        return (self[f"group__{i}"] for i in range(len(self.groups)))

    @property
    def has_target(self) -> bool:
        return self.chosen_method in TARGETS

    @property
    def budget_fields(self) -> list[forms.BoundField]:
        """Return the fields of risk budgets, where the method has them."""
        if self.chosen_method != Method.RISK_BUDGET.value:
            return []
        return [self[f"budget__{member.strategy_id}"] for member in self.members]

    @property
    def view_rows(self) -> list[tuple[forms.BoundField, ...]]:
        """Return the fields of views, where expected returns come from them."""
        if self["return_model"].value() != ReturnModel.BLACK_LITTERMAN.value:
            return []
        parts = ("strategy", "excess", "against", "confidence")
        return [tuple(self[f"view__{i}__{part}"] for part in parts) for i in range(N_VIEWS)]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        try:
            self.options = options_of(self._values())
            self._check_room()
        except InvalidInput as error:
            self.report(error)
        return cleaned

    def report(self, error: AlphaStratError) -> None:
        """Show a service's problem at the fields that it names."""
        for name, reason in error.fields.items():
            shown = "view__0__strategy" if name == "views" else name
            self.add_error(shown if shown in self.fields else None, reason)
        if not error.fields:
            self.add_error(None, str(error))

    def _values(self) -> dict[str, Any]:
        values = {name: self.cleaned_data[name] for name in NAMES if name in self.cleaned_data}
        limits = {
            group: self.cleaned_data[f"group__{i}"]
            for i, group in enumerate(self.groups)
            if self.cleaned_data[f"group__{i}"] is not None
        }
        budgets = {
            str(member.strategy_id): value
            for member in self.members
            if (value := self.cleaned_data.get(f"budget__{member.strategy_id}"))
        }
        is_budget = self.chosen_method == Method.RISK_BUDGET.value
        return values | {
            "group_limits": limits,
            "budgets": budgets if is_budget else {},
            "views": self._views(),
        }

    def _views(self) -> list[dict[str, Any]]:
        if not self.view_rows:
            return []
        given = []
        for i in range(N_VIEWS):
            row = {
                part: self.cleaned_data.get(f"view__{i}__{part}")
                for part in ("strategy", "excess", "against", "confidence")
            }
            if row["strategy"] and row["excess"] is not None:
                given.append(row | {"confidence": row["confidence"] or 0.5})
        return given

    def _check_room(self) -> None:
        """Say at once what a count can tell: the solver would only say it later."""
        options = self.options
        n_most = min(len(self.members), options.max_strategies or len(self.members))
        invested = 1.0 - options.cash
        if n_most and n_most * options.max_weight < invested - 1e-9:
            raise InvalidInput(
                "The limits leave too little room.",
                fields={
                    "max_weight": f"{n_most} strategies at {options.max_weight:.1%} make "
                    f"{n_most * options.max_weight:.0%} of the {invested:.0%} to be invested: "
                    f"choose at least {invested / n_most + 5e-4:.1%}, or more cash."
                },
            )

    def _add_budgets(self, options: AllocationOptions) -> None:
        for member in self.members:
            self.fields[f"budget__{member.strategy_id}"] = forms.FloatField(
                label=member.strategy.name,
                required=False,
                min_value=0.0,
                initial=options.budgets.get(str(member.strategy_id), 1),
                widget=forms.NumberInput(attrs={"step": "any"}),
            )

    def _add_views(self, options: AllocationOptions) -> None:
        choices = [("", "–"), *((str(m.strategy_id), m.strategy.name) for m in self.members)]
        for i in range(N_VIEWS):
            given = options.views[i] if i < len(options.views) else {}
            number = i + 1
            made: dict[str, forms.Field] = {
                "strategy": forms.ChoiceField(
                    label=f"View {number}", choices=choices, required=False
                ),
                "excess": PercentField(label=f"Return a year of view {number}", required=False),
                "against": forms.ChoiceField(
                    label=f"View {number} over", choices=choices, required=False
                ),
                "confidence": PercentField(label=f"Confidence of view {number}", required=False),
            }
            for part, made_field in made.items():
                made_field.initial = given.get(part)
                self.fields[f"view__{i}__{part}"] = made_field


def _groups(members: list[PortfolioMember]) -> list[str]:
    """Return the groups that a person named, and sectors and asset classes of some but not all."""
    found = groups_of_members(members)
    parts = {name for name, inside in found.items() if len(inside) < len(members)}
    return sorted(parts | {member.group for member in members if member.group})


class PortfolioForm(forms.Form):
    """A portfolio with the strategies in it and their own limits."""

    name = forms.CharField(label="Name", max_length=120)
    currency = forms.CharField(label="Currency", max_length=3, initial="USD")
    reserve = forms.DecimalField(
        label="Reserve",
        min_value=0,
        initial=0,
        decimal_places=4,
        help_text="Capital that no strategy has.",
    )

    def __init__(
        self,
        data: QueryDict | None = None,
        *,
        strategies: list[Strategy],
        portfolio: Portfolio | None = None,
    ) -> None:
        self.strategies = strategies
        members = {} if portfolio is None else {m.strategy_id: m for m in portfolio.members.all()}
        initial = (
            {"name": portfolio.name, "currency": portfolio.currency, "reserve": portfolio.reserve}
            if portfolio
            else {}
        )
        super().__init__(data, initial=initial)
        for strategy in strategies:
            self._add_member(strategy, members.get(strategy.pk))

    @property
    def rows(self) -> Iterator[tuple[Strategy, list[forms.BoundField]]]:
        parts = ("member", "group", "minimum", "maximum", "locked")
        for strategy in self.strategies:
            yield strategy, [self[f"{part}__{strategy.pk}"] for part in parts]

    def draft(self) -> PortfolioDraft:
        """Return what was asked for."""
        data = self.cleaned_data
        return PortfolioDraft(
            name=data["name"],
            currency=data["currency"].upper(),
            reserve=data["reserve"],
            members=tuple(
                MemberDraft(
                    strategy.pk,
                    data[f"group__{strategy.pk}"] or "",
                    data[f"minimum__{strategy.pk}"],
                    data[f"maximum__{strategy.pk}"],
                    self._locked_until(strategy.pk),
                )
                for strategy in self.strategies
                if data[f"member__{strategy.pk}"]
            ),
        )

    def report(self, error: AlphaStratError) -> None:
        """Show a service's problem at the fields that it names."""
        for name, reason in error.fields.items():
            self.add_error(name if name in self.fields else None, reason)
        if not error.fields:
            self.add_error(None, str(error))

    def _locked_until(self, key: UUID) -> datetime | None:
        day = self.cleaned_data[f"locked__{key}"]
        return None if day is None else datetime.combine(day, time(), UTC)

    def _add_member(self, strategy: Strategy, member: PortfolioMember | None) -> None:
        name = strategy.name
        locked = member.locked_until if member else None
        own: dict[str, forms.Field] = {
            "member": forms.BooleanField(label=name, required=False, initial=member is not None),
            "group": forms.CharField(
                label="Group",
                widget=forms.TextInput(attrs={"aria-label": f"Group of {name}"}),
                required=False,
                max_length=60,
                initial=member.group if member else "",
            ),
            "minimum": PercentField(
                label="Least",
                widget=forms.NumberInput(attrs={"aria-label": f"Least weight of {name}"}),
                required=False,
                min_value=0,
                initial=member.minimum_weight if member else None,
            ),
            "maximum": PercentField(
                label="Largest",
                widget=forms.NumberInput(attrs={"aria-label": f"Largest weight of {name}"}),
                required=False,
                min_value=0,
                initial=member.maximum_weight if member else None,
            ),
            "locked": forms.DateField(
                label="Locked until",
                required=False,
                initial=locked.date() if locked else None,
                widget=forms.DateInput(
                    attrs={"type": "date", "aria-label": f"Locked until, {name}"}
                ),
            ),
        }
        for part, made in own.items():
            self.fields[f"{part}__{strategy.pk}"] = made
