"""Who may follow a portfolio's page."""

from __future__ import annotations

from typing import Any

from alphastrat.core.live import authorize_topic
from portfolio.services import portfolios


@authorize_topic("portfolio")
def may_watch_portfolio(user: Any, portfolio_id: str) -> bool:
    """Say whether a person may follow this portfolio."""
    return portfolios.may_watch(user, portfolio_id)
