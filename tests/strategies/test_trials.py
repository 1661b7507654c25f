"""Every look at a hypothesis counts, and looks over other times are made comparable."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from strategies.models import Trial
from strategies.services.trials import count_trials, looks_at, record_trials

pytestmark = pytest.mark.django_db

START = datetime(2014, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
HYPOTHESIS = {"plugin": "rsi_mean_reversion", "symbols": ["KO"], "timeframe": "1d"}


def subject(owner, *, years=4):
    return SimpleNamespace(
        owner_id=owner.pk, start_at=START, end_at=START + years * YEAR, **HYPOTHESIS
    )


def look(owner, sharpes, *, years=4, kind="w"):
    looks = [(f"{kind}{number}", sharpe) for number, sharpe in enumerate(sharpes)]
    span = (START, START + years * YEAR)
    record_trials(subject(owner), looks, source=Trial.Source.SWEEP, span=span)


def test_looks_are_counted_once_each_and_their_sharpe_ratios_vary(alice, charlie):
    look(alice, [0.01, 0.03, math.nan])
    look(alice, [0.01, 0.03, math.nan])
    look(charlie, [0.9])
    counted = count_trials(subject(alice))
    assert counted.n_trials == looks_at(alice, **HYPOTHESIS) == 3
    assert counted.sharpe_variance_per_bar == pytest.approx(0.02**2 / 2)


def test_a_look_over_a_quarter_of_the_time_counts_half_its_sharpe_ratio(alice):
    look(alice, [0.01, 0.03], years=4, kind="whole")
    look(alice, [0.02, 0.06], years=1, kind="fold")
    counted = count_trials(subject(alice))
    # 0.01, 0.03, and 0.02 and 0.06 times the root of a quarter.
    assert counted.sharpe_variance_per_bar == pytest.approx(4 * 0.01**2 / 3)
    assert count_trials(subject(alice), span=YEAR).sharpe_variance_per_bar == pytest.approx(
        4 * 0.02**2 / 3
    )


def test_a_single_look_has_no_variance(alice):
    assert count_trials(subject(alice)).n_trials == 0
    look(alice, [0.05])
    assert count_trials(subject(alice)).sharpe_variance_per_bar == 0.0
