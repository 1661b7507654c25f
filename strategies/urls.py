"""Addresses of research pages."""

from __future__ import annotations

from django.urls import path

from strategies.views import (
    backtests,
    comparison,
    foreign_imports,
    indicators,
    plugins,
    results,
    signals,
    strategies,
    sweeps,
    walk_forwards,
)

app_name = "strategies"
urlpatterns = [
    path("strategies/", strategies.strategy_list, name="strategy-list"),
    path("strategies/types/", plugins.plugin_list, name="plugin-list"),
    path("strategies/new/", strategies.strategy_new, name="strategy-new"),
    path("strategies/<uuid:strategy_id>/", strategies.strategy_detail, name="strategy-detail"),
    path("strategies/<uuid:strategy_id>/edit/", strategies.strategy_edit, name="strategy-edit"),
    path("strategies/<uuid:strategy_id>/move/", strategies.strategy_move, name="strategy-move"),
    path(
        "strategies/<uuid:strategy_id>/parameters/",
        strategies.strategy_parameters,
        name="strategy-parameters",
    ),
    path(
        "strategies/<uuid:strategy_id>/signals/",
        signals.strategy_signals,
        name="strategy-signals",
    ),
    path(
        "strategies/<uuid:strategy_id>/signals/<str:symbol>/chart/",
        signals.signal_chart,
        name="signal-chart",
    ),
    path("strategies/<uuid:strategy_id>/check/", signals.strategy_check, name="strategy-check"),
    path("compare/", comparison.compare, name="compare"),
    path("compare/charts/<slug:chart>/", comparison.compare_chart, name="compare-chart"),
    path("signals/", signals.signal_list, name="signal-list"),
    path(
        "instruments/<str:symbol>/indicators/",
        indicators.choose_indicator,
        name="indicator-choice",
    ),
    path("backtests/", backtests.backtest_list, name="backtest-list"),
    path("backtests/import/", foreign_imports.result_import, name="result-import"),
    path("backtests/new/", backtests.backtest_new, name="backtest-new"),
    path("backtests/<uuid:run_id>/", results.backtest_detail, name="backtest-detail"),
    path("backtests/<uuid:run_id>/trades/", results.backtest_trades, name="backtest-trades"),
    path(
        "backtests/<uuid:run_id>/charts/<slug:chart>/",
        results.backtest_chart,
        name="backtest-chart",
    ),
    path(
        "backtests/<uuid:run_id>/examination/",
        results.backtest_examination,
        name="backtest-examination",
    ),
    path("backtests/<uuid:run_id>/retry/", backtests.backtest_retry, name="backtest-retry"),
    path("backtests/<uuid:run_id>/delete/", backtests.backtest_delete, name="backtest-delete"),
    path("walk-forwards/", walk_forwards.walk_forward_list, name="walk-forward-list"),
    path("walk-forwards/new/", walk_forwards.walk_forward_new, name="walk-forward-new"),
    path(
        "walk-forwards/<uuid:search_id>/",
        walk_forwards.walk_forward_detail,
        name="walk-forward-detail",
    ),
    path(
        "walk-forwards/<uuid:search_id>/charts/<slug:chart>/",
        walk_forwards.walk_forward_chart,
        name="walk-forward-chart",
    ),
    path(
        "walk-forwards/<uuid:search_id>/folds/",
        walk_forwards.walk_forward_folds,
        name="walk-forward-folds",
    ),
    path(
        "walk-forwards/<uuid:search_id>/resume/",
        walk_forwards.walk_forward_resume,
        name="walk-forward-resume",
    ),
    path(
        "walk-forwards/<uuid:search_id>/delete/",
        walk_forwards.walk_forward_delete,
        name="walk-forward-delete",
    ),
    path("sweeps/", sweeps.sweep_list, name="sweep-list"),
    path("sweeps/new/", sweeps.sweep_new, name="sweep-new"),
    path("sweeps/<uuid:search_id>/", sweeps.sweep_detail, name="sweep-detail"),
    path("sweeps/<uuid:search_id>/sets/", sweeps.sweep_sets, name="sweep-sets"),
    path("sweeps/<uuid:search_id>/charts/<slug:chart>/", sweeps.sweep_chart, name="sweep-chart"),
    path("sweeps/<uuid:search_id>/resume/", sweeps.sweep_resume, name="sweep-resume"),
    path("sweeps/<uuid:search_id>/delete/", sweeps.sweep_delete, name="sweep-delete"),
]
