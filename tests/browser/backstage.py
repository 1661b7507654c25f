"""What goes on behind the pages: the database, the news, and a market to look at."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections
from django.urls import reverse
from django.utils.timezone import now
from django_q.brokers import get_broker

from alphastrat.accounts.models import User
from alphastrat.core import jobs, live
from alphastrat.core.models import Job
from alphastrat.marketdata.services.imports import request_import
from alphastrat.marketdata.services.ingestion import Target
from alphastrat.marketdata.services.sample_market import load_sample_market
from alphastrat.quant.types import Timeframe
from monitoring.models import Notification, NotificationStatus
from monitoring.services import alert_actions, performance_validator
from monitoring.services.notifications import queue_for
from portfolio.models import Account, PortfolioMember
from portfolio.services import rebalancing
from portfolio.services.allocation_options import AllocationOptions
from portfolio.services.portfolio_optimizer import request_optimisation, run_optimisation
from strategies.models import BacktestRun, Sweep, WalkForward
from strategies.services import demo
from strategies.services.backtesting import request_backtest
from strategies.services.specification import of_run
from tests.factories import make_job, make_user, signed_in
from tests.monitoring import verification_builders
from tests.monitoring.alert_builders import firing, make_rule
from tests.monitoring.outbox_builders import AT, make_alert, make_event, make_transport
from tests.portfolio.allocation_builders import make_backtest
from tests.portfolio.risk_builders import hold, make_portfolio, mark
from tests.strategies.search_builders import make_sweep, make_walk_forward

Result = TypeVar("Result")

GOOD_CSV = (
    b"symbol,date,open,high,low,close,volume\n"
    b"ZZZ,2017-11-01,10,11,9,10.5,1000\n"
    b"ZZZ,2017-11-02,10.5,11.5,10,11,1200\n"
)
WRONG_CSV = (
    GOOD_CSV + b"ZZZ,2017-11-03,11,10,12,11,900\n"  # the high is below the low
    b"ZZZ,2017-11-06,11,12,-1,11.5,800\n"
    b"ZZZ,2017-11-05,11,12,10,11.5,800\n"  # a Sunday
)


class Backstage:
    """Runs database work in a thread of its own, on a database of its own.

    The browser's driver keeps an event loop running in the thread of the tests, and there
    Django refuses to touch the database. What the pages show stays from test to test, which
    the database of the other tests does not allow.
    """

    def __init__(self, blocker: Any) -> None:
        self._blocker = blocker
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="backstage")

    def do(self, work: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
        with self._blocker.unblock():
            return self._thread.submit(work, *arguments, **options).result()

    def publish(self, topic: str, kind: str, payload: dict[str, Any]) -> None:
        self.do(live.publish, topic, kind, payload)

    def cookie(self, name: str) -> str:
        """Sign a person in and return the session's cookie."""
        return str(self.do(_session_of, name))

    def open(self) -> dict[str, Any]:
        """Make the database; return its settings, for the processes of the product."""
        return self.do(_make_database)

    def close(self) -> None:
        self.do(_drop_database)
        self._thread.shutdown()


def _make_database() -> dict[str, Any]:
    # Only this thread's connection is turned to it; test processes side by side have one each.
    name = f"browser_{connection.settings_dict['NAME']}_{settings.PART}"
    connection.close()
    connection.settings_dict = {**connection.settings_dict, "NAME": name}
    with connection._nodb_cursor() as cursor:
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        cursor.execute(f'CREATE DATABASE "{name}"')
    call_command("migrate", interactive=False, verbosity=0)
    return dict(connection.settings_dict)


def _drop_database() -> None:
    name = connection.settings_dict["NAME"]
    connections.close_all()
    with connection._nodb_cursor() as cursor:
        cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _session_of(name: str) -> str:
    return signed_in(User.objects.get(username=name)).cookies["sessionid"].value


@dataclass
class Market:
    """What was loaded once for all browser tests."""

    admin_id: int
    viewer_id: int
    run_id: str
    paths: dict[str, str] = field(default_factory=dict)


def load() -> Market:
    """Store the sample market, people, and one of everything that has a page."""
    load_sample_market(at=now())
    admin, viewer = make_user("demo", role="admin"), make_user("viewer", role="viewer")
    run = demo.seed(admin, at=now())
    assert run is not None
    _work_off()
    request_backtest(admin, of_run(run), at=now())
    sweep, walk_forward = make_sweep(admin), make_walk_forward(admin)
    delivery = _delivery(admin)
    _work_off()
    _without_news(run)
    failed = make_job(
        admin, status="failed", title="Backtest", step="Reading bars", error="Too few bars."
    )
    run.refresh_from_db()
    assert run.status == BacktestRun.Status.SUCCEEDED, run.error
    address = run.get_absolute_url()
    paths = {
        "overview": "/",
        "instruments": "/instruments/",
        "instrument": "/instruments/AAPL/",
        "imports": "/imports/",
        "import": delivery.get_absolute_url(),
        "backtests": "/backtests/",
        "new backtest": "/backtests/new/",
        "backtest": address,
        "round trips": f"{address}trades/",
        **_research(run, sweep, walk_forward),
        "jobs": "/jobs/",
        "job": f"/jobs/{run.job_id}/",
        "failed job": f"/jobs/{failed.pk}/",
        "system": "/system/",
        "settings": "/settings/",
        "transports": "/settings/transports/",
        "transport": _transport_with_deliveries(admin),
        "deliveries": "/alerts/deliveries/",
        **_portfolio(admin),
        **_alerts(admin),
        **_verification(admin),
        "style guide": "/styleguide/",
        "metrics": "/help/metrics/",
        "password": "/password/",
        "login": "/login/",
        "forbidden": "/styleguide/",
        "missing": "/instruments/NOSUCH/",
        "API docs": "/api/v1/docs",
    }
    return Market(admin.pk, viewer.pk, str(run.pk), paths)


def _research(run: BacktestRun, sweep: Sweep, walk_forward: WalkForward) -> dict[str, str]:
    """Return the pages of strategies and searches."""
    assert run.strategy_version is not None
    strategy = run.strategy_version.strategy.get_absolute_url()
    return {
        "strategies": "/strategies/",
        "strategy": strategy,
        "strategy types": "/strategies/types/",
        "new strategy": "/strategies/new/",
        "change of a strategy": f"{strategy}edit/",
        "signals": "/signals/",
        "signals of a strategy": f"{strategy}signals/",
        "parameters of a strategy": f"{strategy}parameters/",
        "sweeps": "/sweeps/",
        "new sweep": "/sweeps/new/",
        "sweep": sweep.get_absolute_url(),
        "sets of a sweep": f"{sweep.get_absolute_url()}sets/",
        "walk-forwards": "/walk-forwards/",
        "new walk-forward": "/walk-forwards/new/",
        "walk-forward": walk_forward.get_absolute_url(),
        "results to compare": "/compare/?choose=1",
        "comparison": f"/compare/?{'&'.join(f'r={one.pk}' for one in _results(run))}",
        "import of a result": "/backtests/import/",
    }


def _results(run: BacktestRun) -> list[BacktestRun]:
    return list(BacktestRun.objects.filter(owner=run.owner_id).succeeded()[:2])


def _portfolio(owner: User) -> dict[str, str]:
    """Store a portfolio that trades, with a proposal; return its pages."""
    rng = np.random.default_rng(7)
    portfolio, accounts = make_portfolio(owner, n=3, reserve=30_000, name="Core")
    start = now() - timedelta(days=80)
    for number, account in enumerate(accounts):
        Account.objects.filter(pk=account.pk).update(opened_at=start - timedelta(days=1))
        make_backtest(account.strategy, rng.normal(0.0004, 0.01, 600))
        mark(account, *rng.normal(0.0004, 0.01, 70).tolist(), start=start)
        hold(account, 100 * (number + 1), protection={"stop": 90})
    PortfolioMember.objects.filter(strategy=accounts[0].strategy).update(target_weight=0.1)
    proposal = rebalancing.propose(portfolio, at=now(), reason="Weights have drifted.")
    query = f"?portfolio={portfolio.pk}"
    asked = request_optimisation(portfolio, AllocationOptions(max_weight=0.5), at=now())
    run_optimisation(str(asked.pk), None, at=now())
    first, second = accounts[0].strategy_id, accounts[1].strategy_id
    return {
        "allocation": f"/portfolio/allocation/{query}",
        "correlation": f"/portfolio/correlation/{query}",
        "pair": f"/portfolio/correlation/{first}/{second}/",
        "portfolios": "/portfolios/",
        "portfolio": f"/portfolios/{portfolio.pk}/edit/",
        "P&L": f"/portfolio/performance/{query}",
        "risk": f"/portfolio/risk/{query}",
        "account": account.get_absolute_url(),
        "import fills": reverse("portfolio:fill-import", args=[account.pk]),
        "trade elsewhere": reverse("portfolio:account-new", args=[account.strategy_id]),
        "value at risk": f"/portfolio/risk/tail/{query}",
        "limits": f"/portfolio/risk/limits/{query}",
        "rebalancing": f"/portfolio/rebalancing/{query}",
        "rebalance": proposal.get_absolute_url(),
        "triggers": f"/portfolio/rebalancing/triggers/{query}",
        "laboratory": f"/portfolio/rebalancing/laboratory/{query}",
    }


def _alerts(owner: User) -> dict[str, str]:
    """Store a rule and an alert that somebody has, so that no page shows a banner for it."""
    account = Account.objects.filter(strategy__owner=owner).latest("opened_at")
    newest = account.equity_points.latest("marked_at").marked_at
    rule = make_rule(owner)
    alert = firing(
        owner,
        at=now(),
        cause="browser",
        rule_id=rule.pk,
        strategy_id=account.strategy_id,
        breached_at=newest - timedelta(days=20),
        evidence={"bounds": [-0.05, -0.1, -0.03], "rule_version": 1},
    )
    alert_actions.acknowledge([alert.pk], by=owner, at=now(), comment="Looking at it.")
    return {
        "alerts": "/alerts/?state=all",
        "alert": alert.get_absolute_url(),
        "silences": "/alerts/silences/",
        "thresholds": "/thresholds/",
        "new threshold": "/thresholds/new/",
        "threshold": rule.get_absolute_url(),
        "import of thresholds": "/thresholds/import/",
    }


def _verification(owner: User) -> dict[str, str]:
    """Store a strategy that traded for a year beside its shadow, a little worse; its pages."""
    strategy, _ = verification_builders.make_promised(owner, "Verified reversion")
    account = verification_builders.make_account(strategy)
    verification_builders.trade_like_shadow(account, worse_bps=4.0)
    performance_validator.evaluate([strategy.pk], at=verification_builders.AT)
    return {
        "verification": "/verification/",
        "verdict": reverse("monitoring:verification-detail", args=[strategy.pk]),
        "against shadow": reverse("monitoring:reconciliation", args=[strategy.pk]),
    }


def _transport_with_deliveries(owner: User) -> str:
    """Store one message in every state; return the page of its transport."""
    transport = make_transport(owner, name="Desk channel", hint="https://hooks.example.org…")
    make_transport(owner, name="Phone", kind="apprise", hint="ntfy, ntfys://nt…", is_enabled=False)
    alert = make_alert(owner, state="resolved")
    for number, status in enumerate(NotificationStatus.values):
        event = make_event(alert, happened_at=AT + timedelta(minutes=number))
        queue_for([event], at=AT)
        has_ended = status in {"sent", "muted", "dead"}
        # None of these shall come due while the pages are looked at.
        Notification.objects.filter(event=event).update(
            status=status,
            due_at=now() + timedelta(days=1),
            claimed_at=AT,
            ended_at=AT if has_ended else None,
            mute_reason="Snoozed until 2026-11-20 16:30 UTC" if status == "muted" else "",
            error="The receiver answered 404." if status == "dead" else "",
        )
    return reverse("monitoring:transport-edit", args=[transport.pk])


def _delivery(owner: User) -> Any:
    return request_import(
        [WRONG_CSV],
        owner=owner,
        file_name="prices.csv",
        target=Target(Timeframe.DAY_1, "file"),
        symbol="",
        zone="",
        at=now(),
    )


def _work_off() -> None:
    """Do in this process what was asked of the workers."""
    while waiting := list(Job.objects.filter(status="queued").values_list("pk", flat=True)):
        for job_id in waiting:
            jobs.run_job(str(job_id))
    get_broker().purge_queue()


def _without_news(run: BacktestRun) -> None:
    """Let the page of `run` be at rest: its examination is stored, nothing polls."""
    run.refresh_from_db()
    assert run.agreement, "the examination was not carried out"
