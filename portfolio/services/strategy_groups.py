"""Groups of strategies that are limited together: named by a person, or by what they trade."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

from alphastrat.marketdata.models import Instrument
from portfolio.models import PortfolioMember
from portfolio.services.risk_facts import groups_of


def groups_of_members(members: Iterable[PortfolioMember]) -> dict[str, frozenset[UUID]]:
    """Return the strategies of each group, in one query.

    A strategy is in the group that its member was given, and in the sector and the asset class
    that all of its instruments share.
    """
    own = {member.strategy_id: member.group for member in members}
    traded: dict[UUID, list[set[str]]] = defaultdict(list)
    rows = Instrument.objects.filter(strategies__in=list(own)).order_by()
    for key, asset_class, sector in rows.values_list(
        "strategies", "asset_class", "sector"
    ).distinct():
        traded[key].append(set(groups_of(Instrument(asset_class=asset_class, sector=sector))))
    found: dict[str, set[UUID]] = defaultdict(set)
    for key, label in own.items():
        shared = set.intersection(*traded[key]) if key in traded else set()
        for name in shared | ({label} if label else set()):
            found[name].add(key)
    return {name: frozenset(found[name]) for name in sorted(found)}
