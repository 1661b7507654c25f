"""The filter of signals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from strategies.models.signal import SignalKind, SignalRepaint, StrategySignalQuerySet


class SignalFilter(forms.Form):
    """Choose signals by kind, instrument and strategy; holds are left out unless asked for."""

    kind = forms.ChoiceField(
        label="Signal",
        choices=[("", "Buy and sell"), *SignalKind.choices, ("all", "All, holds too")],
        required=False,
    )
    symbol = forms.CharField(label="Instrument", required=False, max_length=40)
    q = forms.CharField(label="Strategy", required=False, max_length=100)
    repainted = forms.ChoiceField(
        label="Repaints", choices=[("", "Any"), ("yes", "Repainted only")], required=False
    )

    def __init__(self, *args: Any, symbols: Sequence[str] | None = None, **options: Any) -> None:
        """Let one choose among `symbols` where the signals are those of one strategy."""
        super().__init__(*args, **options)
        if symbols is None:
            return
        del self.fields["q"]
        known = [("", "Any"), *((symbol, symbol) for symbol in symbols)]
        self.fields["symbol"] = forms.ChoiceField(label="Instrument", choices=known, required=False)

    def apply(self, signals: StrategySignalQuerySet) -> StrategySignalQuerySet:
        """Return the signals that match; a filter that makes no sense is left out."""
        wanted = self.cleaned_data if self.is_valid() else {}
        kind = wanted.get("kind", "")
        if not kind:
            signals = signals.exclude(signal_type=SignalKind.HOLD)
        elif kind != "all":
            signals = signals.filter(signal_type=kind)
        if wanted.get("symbol"):
            signals = signals.filter(instrument__symbol=wanted["symbol"].upper())
        if wanted.get("q"):
            signals = signals.filter(strategy__name__icontains=wanted["q"])
        if wanted.get("repainted"):
            repainted = SignalRepaint.objects.values("signal_id")
            signals = signals.filter(pk__in=repainted)
        return signals
