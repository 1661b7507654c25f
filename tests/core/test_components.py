"""Components refuse what they do not know and show every state in words and shapes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django import forms
from django.conf import settings
from django.core.paginator import Paginator
from django.template import Context, Template, TemplateSyntaxError
from django.test import RequestFactory

from alphastrat.core.icons import ICONS
from alphastrat.core.job_view import job_view
from alphastrat.core.models import Job
from alphastrat.core.navigation import GROUPS
from alphastrat.core.statuses import STATUSES
from alphastrat.core.tables import Column, cells, headings, lookup, query_url, read_order

NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
COLUMNS = (
    Column("name", "Strategy", sort="name", link="url"),
    Column("day", "Day", "signed_percent", sort="day", live="strategy:{id}.day"),
    Column("status", "Status", "status"),
)
ROWS = [
    {"id": 7, "name": "RSI", "url": "/strategies/7/", "day": -0.0061, "status": "active"},
    {"id": 8, "name": "MACD", "url": "/strategies/8/", "day": None, "status": "not_run"},
]


def rendered(source: str, query: str = "", **context: Any) -> str:
    request = RequestFactory().get("/strategies/" + query)
    template = Template("{% load components format %}" + source)
    return template.render(Context({"request": request, **context}))


@pytest.mark.parametrize(
    "tag",
    [
        '{% data_card "Sharpe" 1.4 colour="red" %}',
        '{% data_card "Sharpe" 1.4 format="percentage" %}',
        '{% data_card "Sharpe" 1.4 state="broken" %}',
        '{% status_badge "happy" %}',
        '{% alert_banner "Breach" level="fatal" %}',
        '{% button "Save" kind="huge" %}',
        '{% button "Save" type="link" %}',
        '{% button "Save" icon="unicorn" %}',
        '{% icon "unicorn" %}',
        '{% performance_chart id="a" title="b" size="huge" %}',
        '{% performance_chart id="a" %}',
        '{% data_table id="a" caption="b" exports="xls" %}',
        '{% conn_status "gone" %}',
        '{% form_field "limit" %}',
    ],
)
def test_component_refuses_what_it_does_not_know(tag: str) -> None:
    with pytest.raises(TemplateSyntaxError):
        rendered(tag)


def test_column_refuses_an_unknown_format() -> None:
    with pytest.raises(ValueError, match="percentage"):
        Column("day", "Day", "percentage")


def test_data_card_shows_value_direction_and_expectation() -> None:
    shown = rendered(
        '{% data_card "Day" -0.0021 format="signed_percent" expected=0.0004'
        ' live="portfolio:1.day" %}'
    )
    assert 'data-dir="down">−0.21%' in shown
    assert "Expected 0.04%" in shown
    assert '<data value="-0.0021" data-live="portfolio:1.day">' in shown


def test_data_card_gives_the_reason_only_where_there_is_no_value() -> None:
    tag = '{% data_card "Sortino" value format="ratio" reason="Too few returns." %}'
    assert "Too few returns." in rendered(tag, value=None)
    assert "—" in rendered(tag, value=None)
    assert "Too few returns." not in rendered(tag, value=1.0)


@pytest.mark.parametrize("status", sorted(STATUSES))
def test_status_badge_has_a_word_and_a_hidden_shape(status: str) -> None:
    shown = rendered("{% status_badge status %}", status=status.upper())
    assert STATUSES[status].word in shown
    assert re.search(r'data-shape="\w+" aria-hidden="true"', shown)


def test_every_shape_and_icon_is_drawn() -> None:
    css = (settings.BASE_DIR / "static/css/app.css").read_text("utf-8")
    drawn = set(re.findall(r"data-shape=(\w+)", css)) | {"square"}
    assert {status.shape for status in STATUSES.values()} <= drawn
    assert {page.icon for _, pages in GROUPS for page in pages} <= set(ICONS)


def test_data_table_marks_the_sorted_column_and_keeps_the_query() -> None:
    request = RequestFactory().get("/strategies/?status=active&page=3&sort=-day")
    order = read_order(request, COLUMNS, default="name")
    name, day, status = headings(request, COLUMNS, order)
    assert (order.sort, order.descending) == ("day", True)
    assert day.aria_sort == "descending"
    assert day.href == "?status=active&sort=day"
    assert (name.aria_sort, name.href) == ("none", "?status=active&sort=name")
    assert (status.href, status.aria_sort) == ("", "")


def test_order_falls_back_where_the_column_does_not_sort() -> None:
    request = RequestFactory().get("/strategies/?sort=-password")
    assert read_order(request, COLUMNS, default="-day").query_value == "-day"


def test_data_table_shows_numbers_dashes_links_and_live_names() -> None:
    shown = rendered(
        '{% data_table id="s" caption="All" columns=columns rows=rows row_id="strategy" %}',
        columns=COLUMNS,
        rows=ROWS,
    )
    assert '<tr id="strategy-7">' in shown
    assert '<th scope="row"><a href="/strategies/7/">RSI</a></th>' in shown
    assert 'data-live="strategy:7.day"' in shown
    assert "—" in shown
    assert "Not run" in shown
    assert '<caption id="s-caption"' in shown


def test_data_table_escapes_what_it_shows() -> None:
    rows = [{"name": "<script>", "url": "javascript", "day": 0, "status": "ok", "id": 1}]
    shown = rendered(
        '{% data_table id="s" caption="All" columns=columns rows=rows %}',
        columns=COLUMNS,
        rows=rows,
    )
    assert "<script>" not in shown


def test_data_table_without_rows_offers_the_one_action() -> None:
    shown = rendered(
        '{% data_table id="s" caption="All" columns=columns empty="No runs yet"'
        ' empty_action="Run one" empty_href="/new/" %}',
        columns=COLUMNS,
    )
    assert "No runs yet" in shown
    assert 'href="/new/"' in shown
    assert "<table" not in shown


def test_data_table_failure_replaces_the_rows() -> None:
    shown = rendered(
        '{% data_table id="s" caption="All" columns=columns rows=rows error="It failed." %}',
        columns=COLUMNS,
        rows=ROWS,
    )
    assert "It failed." in shown
    assert "<table" not in shown


def test_data_table_exports_with_the_filters_of_the_page() -> None:
    shown = rendered(
        '{% data_table id="s" caption="All" columns=columns rows=rows exports="csv parquet" %}',
        "?status=active&page=2",
        columns=COLUMNS,
        rows=ROWS,
    )
    assert 'href="?status=active&amp;format=csv"' in shown
    assert 'href="?status=active&amp;format=parquet"' in shown


def test_pagination_keeps_the_query_and_marks_the_page() -> None:
    page = Paginator(range(95), 10).page(4)
    shown = rendered("{% pagination page %}", "?sort=-day&page=4", page=page)
    assert "31–40 of 95" in shown
    assert 'href="?sort=-day&amp;page=5" rel="next"' in shown
    assert 'aria-current="page">4<' in shown


def test_lookup_follows_mappings_and_attributes_and_stops_at_nothing() -> None:
    assert lookup({"run": {"sharpe": 1.4}}, "run.sharpe") == 1.4
    assert lookup({"run": None}, "run.sharpe") is None
    assert [cell.formatted.text for cell in cells(ROWS[1], COLUMNS)][1] == "—"


def test_query_url_removes_and_replaces_names() -> None:
    request = RequestFactory().get("/?page=2&sort=a")
    assert query_url(request, page=None, sort="b") == "?sort=b"


class LimitForm(forms.Form):
    limit = forms.FloatField(label="Limit", help_text="Above this it fires.", min_value=0)


def test_form_field_ties_help_and_error_to_the_control() -> None:
    form = LimitForm({"limit": "-1"})
    form.is_valid()
    shown = rendered('{% form_field form.limit unit="%" %}', form=form)
    assert 'aria-describedby="id_limit-error id_limit-help"' in shown
    assert 'aria-invalid="true"' in shown
    assert 'id="id_limit-error">Ensure this value is greater' in shown
    assert 'value="-1"' in shown
    assert '<label for="id_limit">Limit<span class="unit">, %</span>' in shown


def test_form_field_without_error_is_not_invalid() -> None:
    shown = rendered("{% form_field form.limit %}", form=LimitForm())
    assert "aria-invalid" not in shown
    assert 'aria-describedby="id_limit-help"' in shown


def test_performance_chart_has_name_conclusion_and_tools() -> None:
    shown = rendered(
        '{% performance_chart id="eq" title="Equity" src="/figure/" caption="Up 4%." csv="/csv/" %}'
    )
    assert 'data-src="/figure/"' in shown
    assert 'role="img" aria-labelledby="eq-title" aria-describedby="eq-caption"' in shown
    assert "Up 4%." in shown
    assert re.findall(r'data-range="(\w+)"', shown) == ["1M", "3M", "YTD", "1Y", "All"]
    assert "hx-morph-skip" in shown


def test_empty_chart_loads_nothing() -> None:
    shown = rendered(
        '{% performance_chart id="a" title="b" src="/f/" state="empty" empty="None." %}'
    )
    assert "data-chart" not in shown
    assert "None." in shown


def job(**values: Any) -> Job:
    return Job(id=UUID(int=1), title="Backtest", **values)


def test_running_job_says_amount_elapsed_and_left() -> None:
    running = job(
        status="running", done=42, total=120, started_at=NOW - timedelta(seconds=31), step="MSFT"
    )
    view = job_view(running, unit="symbols", at=NOW)
    # 31 s for 42 of 120: 31 × 78 / 42 = 57.6 s remain.
    assert (view.amount, view.elapsed, view.left) == ("42 of 120 symbols", "00:31", "00:58")


def test_job_gives_no_time_left_before_a_twentieth_is_done() -> None:
    running = job(status="running", done=5, total=120, started_at=NOW - timedelta(seconds=31))
    assert job_view(running, at=NOW).left == ""


def test_job_progress_polls_while_active_and_stops_when_finished() -> None:
    running = job(status="running", done=1, total=2, started_at=NOW)
    ended = job(status="succeeded", done=2, total=2, started_at=NOW, finished_at=NOW)
    tag = '{% job_progress job poll="/jobs/1/" %}'
    assert 'hx-trigger="every 2s' in rendered(tag, job=running)
    assert "hx-get" not in rendered(tag, job=ended)
    assert "<progress" not in rendered(tag, job=ended)


def test_job_with_unknown_total_is_indeterminate() -> None:
    shown = rendered("{% job_progress job %}", job=job(status="running", started_at=NOW))
    assert re.search(r"<progress aria-labelledby", shown)


def test_failed_job_shows_step_and_error() -> None:
    failed = job(status="failed", step="Simulating TSLA", error="12 bars; 28 needed.")
    assert "Simulating TSLA: 12 bars; 28 needed." in rendered("{% job_progress job %}", job=failed)


def test_confirm_dialog_focuses_cancel_and_posts_with_a_token() -> None:
    shown = rendered(
        '{% confirm_dialog id="d" title="Delete?" action="/x/" effect="12 trades" danger=True %}',
        csrf_token="token",
    )
    assert re.search(r"autofocus>Cancel", shown)
    assert 'name="csrfmiddlewaretoken" value="token"' in shown
    assert "12 trades" in shown


def test_tabs_mark_the_current_page() -> None:
    shown = rendered(
        '{% tabs entries label="Strategy" %}',
        entries=[("Performance", "/a/", True), ("Signals", "/b/", False, 3)],
    )
    assert '<a href="/a/" aria-current="page">Performance' in shown
    assert '<span class="tab-count">3</span>' in shown


def test_heads_carry_wire_names() -> None:
    shown = rendered("{{ heads|heads_attr }}", heads={"jobs:u5": 12, "strategy:7": 3})
    assert shown == "{&quot;jobs&quot;:12,&quot;strategy:7&quot;:3}"
